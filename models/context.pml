/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Invalidation of a device's cached context against the device, and when the
 * memory of a dropped context may be freed; README.md maps each step to the
 * code. Generations and `completed` as in iotlb.pml.
 */

#ifndef READERS
#define READERS 2
#endif
#ifndef SECTIONS
#define SECTIONS 2
#endif
#ifndef INVALIDATIONS
#define INVALIDATIONS 2
#endif

#define CONTEXTS (READERS * SECTIONS) /* that can be made at most, each once */
#define NONE	 255

byte entry;	/* the guest's context entry */
byte completed; /* what the guest has seen to be complete */

byte now = 1;
byte slot[READERS];

bit locked; /* the context lock */
byte changes;
byte published = NONE;

byte made;
byte generation[CONTEXTS];
bit freed[CONTEXTS];
byte retired = NONE, retired_epoch; /* one is enough: it is reclaimed before the next is retired */

inline lock()
{
	atomic { locked == 0 -> locked = 1 }
}

inline unlock()
{
	locked = 0
}

inline publish()
{
	lock();
	if
#ifdef BROKEN_NO_CHECK
	:: published == NONE ->
#else
	:: published == NONE && changes == my_changes ->
#endif
		atomic { generation[made] = found; mine = made; made++ };
		published = mine
	:: else /* good for this section, in memory of its own */
	fi;
	unlock()
}

inline get()
{
	mine = published;
	if
	:: mine == NONE ->
		my_changes = changes;
		found = entry;
#ifdef BROKEN_LATE_COUNT
		my_changes = changes;
#endif
		publish()
	:: else -> read_context()
	fi
}

inline read_context()
{
	atomic { assert(!freed[mine]); found = generation[mine] }
}

inline enter()
{
	entered = now;
	slot[me] = entered
}

proctype reader(byte me)
{
	byte entered, my_changes, mine, found, n;

	do
	:: n < SECTIONS ->
		n++;
#ifdef BROKEN_LATE_ENTER
		get();
		enter();
#else
		enter();
		get();
#endif
		if
		:: mine != NONE -> read_context()
		:: else
		fi;
		assert(found >= completed);
		slot[me] = 0;
		atomic { entered = 0; my_changes = 0; mine = 0; found = 0 }
	:: else -> break
	od
}

/* Each slot was empty or late enough when it was looked at. */
inline wait_for(target)
{
	i = 0;
	do
	:: i < READERS -> (slot[i] == 0 || slot[i] >= target); i++
	:: else -> break
	od
}

inline drop()
{
	lock();
	changes++;
	atomic { dropped = published; published = NONE };
	if
	:: dropped != NONE -> atomic { now++; retired = dropped; retired_epoch = now }
	:: else
	fi;
	unlock()
}

inline reclaim()
{
	if
	:: retired != NONE ->
#ifndef BROKEN_EARLY_FREE
		wait_for(retired_epoch);
#endif
		lock();
		freed[retired] = 1;
		retired = NONE;
		unlock()
	:: else
	fi
}

proctype invalidator()
{
	byte n, i, target, dropped;

	do
	:: n < INVALIDATIONS ->
		n++;
		entry++;
		drop();
		if
		:: reclaim()
		:: true
		fi;
		atomic { now++; target = now };
#ifndef BROKEN_NO_WAIT
		wait_for(target);
#endif
		completed = entry;
		reclaim();
		atomic { i = 0; target = 0; dropped = 0 }
	:: else -> break
	od;
	assert(published == NONE || generation[published] >= completed)
}

init {
	byte i;

	atomic {
		do
		:: i < READERS -> run reader(i); i++
		:: else -> break
		od;
		run invalidator()
	}
}
