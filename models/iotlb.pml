/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Invalidation of cached pages against devices that use them; README.md maps
 * each step to the code. Letters and numbers are those of the tables in
 * lib/base/epoch.h and lib/core/iotlb.h.
 *
 * The guest's entry of a page holds a generation that only grows. `completed`
 * is the generation below which the guest was told that nothing is left: an
 * access through an older one, or an older one that can still be looked up, is
 * a broken promise.
 */

#ifndef READERS
#define READERS 2
#endif
#ifndef SECTIONS
#define SECTIONS 1 /* of each reader */
#endif
#ifndef INVALIDATIONS
#define INVALIDATIONS 2
#endif

#ifndef LINES
#define LINES 2 /* of the one set */
#endif

#define PAGES 2 /* that compete for it */

#define TAG(asid, page)	       ((asid) * PAGES + (page) + 1)
#define VALUE(page, generation) ((generation) * PAGES + (page) + 1)
#define GENERATION(value)      (((value) - 1) / PAGES)
#define PAGE_OF(value)	       (((value) - 1) % PAGES)

byte entry[PAGES];     /* the guest's tables */
byte completed[PAGES]; /* what the guest has seen to be complete */

byte now = 1;
byte slot[READERS];

byte asid = 1;
bit classes;
byte changes;

typedef cache_line {
	byte sequence;
	byte tag;   /* 0: empty */
	byte value; /* 0: not cached */
};
cache_line cache[LINES];

typedef pin {
	bit held;
	byte page, entered;
};
pin pins[READERS];

#ifdef ONE_PAGE
byte started;
#endif

/* What can be looked up is as new as what the guest was told. Only a fill and a completion could change that. */
inline audit(l)
{
	assert(cache[l].tag != TAG(asid, PAGE_OF(cache[l].value)) || cache[l].value == 0 ||
	       GENERATION(cache[l].value) >= completed[PAGE_OF(cache[l].value)])
}

inline lock_line(l)
{
	atomic { cache[l].sequence % 2 == 0 -> cache[l].sequence++ }
}

inline unlock_line(l)
{
	cache[l].sequence++
}

/* Leaves `value` 0 on a miss. */
inline lookup(l)
{
	seen = cache[l].sequence;			/* L1 */
	if
	:: cache[l].tag == TAG(my_asid, page) ->	/* L2 */
		value = cache[l].value;			/* L3 */
		if
#ifndef BROKEN_NO_SEQUENCE
		:: seen % 2 == 1 || cache[l].sequence != seen -> value = 0 /* L4 */
#endif
		:: else
		fi
	:: else
	fi
}

/* Which line is left open: it depends on tags that others change meanwhile. */
inline insert(l)
{
	if
	:: atomic {
		cache[l].sequence % 2 == 0 ->		/* I1 */
		cache[l].sequence++
	   }
#ifndef BROKEN_NO_CLASS
	   classes = 1;
#endif
	   if
#ifdef BROKEN_NO_CHECK
	   :: true ->
#else
	   :: changes == my_changes ->			/* I2 */
#endif
		if
		:: cache[l].tag != TAG(my_asid, page) ->
			cache[l].value = 0;
			cache[l].tag = TAG(my_asid, page) /* I3 */
		:: else
		fi;
		atomic { cache[l].value = value; audit(l) }
	   :: else
	   fi;
	   unlock_line(l)				/* I4 */
	:: cache[l].sequence % 2 == 1 /* gives up */
	fi
}

inline enter()
{
	atomic {
#ifdef ONE_PAGE
		/* Then readers are all alike, and one order of beginning stands for all. */
		if
		:: started == me -> started++
		:: started > me
		fi;
#endif
		entered = now
	};
	slot[me] = entered	/* R1; R2 changes nothing where all is seq_cst */
}

inline translate()
{
	value = 0;
	my_changes = changes;
	my_asid = asid;
	if
	:: classes == 1 ->
		lookup(0);
#if LINES > 1
		if
		:: value == 0 -> lookup(1)
		:: else
		fi
#endif
	:: else
	fi;
	if
	:: value == 0 ->
		value = VALUE(page, entry[page]); /* the walk */
#ifdef BROKEN_LATE_COUNT
		my_changes = changes;
#endif
		if
		:: insert(0)
#if LINES > 1
		:: insert(1)
#endif
		fi
	:: else
	fi;
	assert(PAGE_OF(value) == page)
}

/* The device touches memory. */
inline access()
{
	assert(GENERATION(value) >= completed[page])
}

inline hold()
{
	atomic { pins[me].held = 1; pins[me].page = page; pins[me].entered = entered }
}

proctype reader(byte me)
{
	byte page, entered, my_changes, my_asid, seen, value, n;

	do
	:: n < SECTIONS ->
		n++;
		if
		:: page = 0
		#ifndef ONE_PAGE
		:: me == 1 -> page = 1 /* one that evicts is enough */
#endif
		fi;
#ifdef BROKEN_LATE_ENTER
		translate();
		enter();
#else
		enter();
		translate();
#endif
		if
#ifndef ONLY_PINS
		:: access();	/* a short guard */
		   slot[me] = 0
#endif
#ifndef NO_PINS
		:: true ->	/* a pin, which outlives the section */
#ifdef BROKEN_LATE_PIN
		   slot[me] = 0;
		   hold();
#else
		   hold();
		   slot[me] = 0;
#endif
		   access();
		   atomic { pins[me].held = 0; pins[me].page = 0; pins[me].entered = 0 }
#endif
		fi;
		atomic { entered = 0; my_changes = 0; my_asid = 0; seen = 0; value = 0; page = 0 }
	:: else -> break
	od
}

inline drop_page()
{
#ifndef BROKEN_LATE_CHANGE
	changes++;				/* V1 */
#endif
	if
	:: classes == 1 ->
#ifdef BROKEN_ONE_LINE_DROPPED
		i = 1;
#else
		i = 0;
#endif
		do
		:: i < LINES ->
			lock_line(i);		/* V2 */
			if
			:: cache[i].tag == TAG(asid, 0) -> cache[i].value = 0 /* V3 */
			:: else
			fi;
			unlock_line(i);		/* V4 */
			i++
		:: else -> break
		od
	:: else
	fi
#ifdef BROKEN_LATE_CHANGE
	; changes++
#endif
}

inline drop_domain()
{
	changes++;				/* V1 */
#ifdef BROKEN_LATE_CLASSES
	asid++;
	classes = 0
#else
	classes = 0;
	asid++
#endif
}

inline drain()
{
	atomic { now++; target = now };		/* W2 */
#ifndef BROKEN_NO_WAIT
	i = 0;
	do
	:: i < READERS ->
		(slot[i] == 0 || slot[i] >= target); /* W3 */
		i++
	:: else -> break
	od;
#endif
#ifndef BROKEN_NO_PIN_WAIT
	i = 0;
	do
	:: i < READERS ->
		(!pins[i].held || pins[i].entered >= target || (!all && pins[i].page != 0));
		i++
	:: else -> break
	od
#endif
}

proctype invalidator()
{
	byte n, i, target;
	bit all;

	do
	:: n < INVALIDATIONS ->
		n++;
		if
		:: all = 0
#ifndef ONLY_PAGE_DROPS
		:: all = 1
#endif
		fi;
		entry[0]++;
		if
		:: all -> entry[1]++; drop_domain()
		:: else -> drop_page()
		fi;
		drain();
		atomic {
			completed[0] = entry[0];
			if
			:: all -> completed[1] = entry[1]
			:: else
			fi;
			audit(0);
			audit(LINES - 1);
			i = 0; target = 0
		}
	:: else -> break
	od
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
