/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration space of the function whose BAR holds the unit's registers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "daemon/functions/hidden_config.h"

#define COMMAND	 0x04
#define BAR0	 0x10
#define ADDRESS	 0xfeb00000u
#define MEMORY	 0x0002u
#define MASTER	 0x0004u
#define NOT_HERE 0xffffffffu

static uint32_t read32(const struct hidden_config *c, size_t offset)
{
	uint32_t value;

	hidden_config_read(c, offset, &value, sizeof(value));
	return value;
}

/* True: the function has just hidden itself. */
static bool write32(struct hidden_config *c, size_t offset, uint32_t value)
{
	return hidden_config_write(c, offset, &value, sizeof(value));
}

static void begin(struct hidden_config *c)
{
	hidden_config_reset(c);
	assert_int_equal(read32(c, 0), HIDDEN_DEVICE_ID << 16 | HIDDEN_VENDOR_ID);
}

/* As firmware does. */
static void enable(struct hidden_config *c)
{
	assert_false(write32(c, BAR0, NOT_HERE));
	assert_int_equal(read32(c, BAR0), ~(HIDDEN_BAR_SIZE - 1));
	assert_false(write32(c, BAR0, ADDRESS));
	assert_true(write32(c, COMMAND, MEMORY));
}

static void hides_once_it_has_its_address(void **state)
{
	struct hidden_config c;

	begin(&c);
	enable(&c);
	for (size_t at = 0; at < HIDDEN_CONFIG_SIZE; at += 4)
		assert_int_equal(read32(&c, at), NOT_HERE);
	assert_int_equal(c.base, ADDRESS);
}

/* Whoever sizes or moves the BAR of what it does not see changes nothing; a reset shows it again. */
static void stays_where_it_is(void **state)
{
	struct hidden_config c;

	begin(&c);
	enable(&c);
	assert_false(write32(&c, BAR0, NOT_HERE));
	assert_false(write32(&c, BAR0, ADDRESS + HIDDEN_BAR_SIZE));
	assert_false(write32(&c, COMMAND, 0));
	assert_false(write32(&c, COMMAND, MEMORY));
	assert_int_equal(read32(&c, 0), NOT_HERE);
	assert_int_equal(c.base, ADDRESS);
	begin(&c);
	assert_false(hidden_config_has_address(&c));
}

/* Who writes back what was read lets the function master the bus; who does not is taken at its word. */
static void masters_the_bus_as_it_is_told(void **state)
{
	struct hidden_config c;

	begin(&c);
	assert_int_equal(read32(&c, COMMAND), MASTER);
	assert_false(c.masters);
	assert_false(write32(&c, COMMAND, NOT_HERE & ~MEMORY));
	assert_int_equal(read32(&c, COMMAND), MASTER);
	assert_true(write32(&c, COMMAND, read32(&c, COMMAND) | MEMORY));
	assert_true(c.masters);
	begin(&c);
	assert_false(c.masters);
	assert_true(write32(&c, COMMAND, MEMORY));
	assert_false(c.masters);
}

/* A state is one that the guest can have made. */
static void forged_states_are_not_possible(void **state)
{
	struct hidden_config c;
	struct hidden_state s;

	begin(&c);
	hidden_config_save(&c, &s);
	assert_true(hidden_config_is_possible(&s));
	s.hidden = 1;
	assert_false(hidden_config_is_possible(&s));
	enable(&c);
	hidden_config_save(&c, &s);
	assert_true(hidden_config_is_possible(&s));
	s.bytes[0] ^= 1;
	assert_false(hidden_config_is_possible(&s));
	s.bytes[0] ^= 1;
	s.bytes[COMMAND] &= (uint8_t)~MASTER;
	assert_false(hidden_config_is_possible(&s));
	s.bytes[COMMAND] = MASTER;
	assert_false(hidden_config_is_possible(&s));
	s.bytes[COMMAND] = MASTER | MEMORY;
	s.masters = 2;
	assert_false(hidden_config_is_possible(&s));
	s.masters = 1;
	hidden_config_reset(&c);
	hidden_config_restore(&c, &s);
	assert_int_equal(c.base, ADDRESS);
	assert_true(c.masters);
	assert_int_equal(read32(&c, 0), NOT_HERE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hides_once_it_has_its_address),
		cmocka_unit_test(stays_where_it_is),
		cmocka_unit_test(masters_the_bus_as_it_is_told),
		cmocka_unit_test(forged_states_are_not_possible),
	};

	return cmocka_run_group_tests_name("hidden config", tests, NULL, NULL);
}
