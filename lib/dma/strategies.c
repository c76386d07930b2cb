/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of strategies, and how one is chosen by name. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "dma/strategy.h"

const struct vi_dma_strategy *const vi_dma_strategies[] = {
	&vi_dma_passthrough, &vi_dma_direct,	 &vi_dma_single_use,	&vi_dma_shared,
	&vi_dma_persistent,  &vi_dma_on_demand,	 &vi_dma_deferred,	&vi_dma_optimistic,
	&vi_dma_copy,	     &vi_dma_contiguous, &vi_dma_software_only,
};
const size_t vi_dma_strategy_count = VI_ARRAY_SIZE(vi_dma_strategies);

/* Where one name ends and what follows it. */
struct word {
	const char *text;
	size_t len;
};

static __attribute__((format(printf, 3, 4))) int refuse(char *why, size_t why_size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (why)
		vsnprintf(why, why_size, format, args);
	va_end(args);
	return -EINVAL;
}

/* How much of a word that nobody knows is repeated, so that there is room for what is wrong with it. */
static int shown(struct word w)
{
	return w.len < 40 ? (int)w.len : 40;
}

static struct word next_word(const char **at, const char *ends)
{
	struct word w = {.text = *at, .len = strcspn(*at, ends)};

	*at += w.len;
	return w;
}

static bool is_word(struct word w, const char *name)
{
	return strlen(name) == w.len && !memcmp(name, w.text, w.len);
}

static const struct vi_dma_strategy *find(struct word name)
{
	for (size_t i = 0; i < vi_dma_strategy_count; i++)
		if (is_word(name, vi_dma_strategies[i]->info.name))
			return vi_dma_strategies[i];
	return NULL;
}

/* Decimal digits only. */
static bool to_number(struct word w, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (size_t i = 0; i < w.len; i++)
		if (w.text[i] < '0' || w.text[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(w.text[i] - '0'), &value))
			return false;
	*ret_value = value;
	return w.len > 0;
}

static int set_option(const struct vi_dma_strategy *s, struct word name, struct word number, uint64_t *option,
		      char *why, size_t why_size)
{
	for (size_t i = 0; i < s->info.option_count; i++) {
		const struct viommu_dma_option_info *o = &s->info.options[i];
		uint64_t value;

		if (!is_word(name, o->name))
			continue;
		if (!to_number(number, &value) || value < o->least || value > o->most)
			return refuse(why, why_size, "%s: %s is a number of %s from %llu to %llu, not '%.*s'",
				      s->info.name, o->name, o->unit, (unsigned long long)o->least,
				      (unsigned long long)o->most, shown(number), number.text);
		option[i] = value;
		return 0;
	}
	return refuse(why, why_size, "the strategy %s has no option '%.*s'", s->info.name, shown(name),
		      name.text);
}

static int parse_options(const char *at, const struct vi_dma_strategy *s, uint64_t *option, char *why,
			 size_t why_size)
{
	for (size_t i = 0; i < s->info.option_count; i++)
		option[i] = s->info.options[i].usual;
	while (*at == ',') {
		struct word name, value = {"", 0};
		int err;

		at++;
		name = next_word(&at, "=,");
		if (*at == '=') {
			at++;
			value = next_word(&at, ",");
		}
		err = set_option(s, name, value, option, why, why_size);
		if (err)
			return err;
	}
	return 0;
}

int vi_dma_strategy_parse(const char *text, const struct vi_dma_strategy **ret_strategy,
			  uint64_t option[VI_DMA_OPTIONS_MAX], char *why, size_t why_size)
{
	const struct vi_dma_strategy *s;
	uint64_t values[VI_DMA_OPTIONS_MAX];
	struct word name;
	int err;

	if (!text)
		return refuse(why, why_size, "no strategy is named");
	name = next_word(&text, ",");
	s = find(name);
	if (!s)
		return refuse(why, why_size, "there is no strategy '%.*s'", shown(name), name.text);
	err = parse_options(text, s, values, why, why_size);
	if (err)
		return err;
	memcpy(option, values, s->info.option_count * sizeof(*option));
	*ret_strategy = s;
	return 0;
}

const struct viommu_dma_strategy_info *viommu_dma_strategy_describe(size_t index)
{
	return index < vi_dma_strategy_count ? &vi_dma_strategies[index]->info : NULL;
}
