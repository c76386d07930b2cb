/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lists the DMA mapping strategies with their options, or, with the argument
 * --statistics, what an address space counts: name, unit and meaning with tabs
 * in between. The manual pages are made of both.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <viommu/dma.h>

static void show_option(const struct viommu_dma_option_info *o)
{
	printf("        %s=%" PRIu64 ": %s, %" PRIu64 " to %" PRIu64 "; %s\n", o->name, o->usual, o->unit,
	       o->least, o->most, o->doc);
}

static void show_strategy(const struct viommu_dma_strategy_info *s)
{
	printf("  %s\n        %s\n", s->name, s->doc);
	printf("        Promise: %s\n", s->promise);
	if (s->source)
		printf("        Published: %s.\n", s->source);
	for (size_t i = 0; i < s->option_count; i++)
		show_option(&s->options[i]);
}

static void show_statistics(void)
{
	size_t count;
	const struct viommu_dma_counter_info *info = viommu_dma_counters_describe(&count);

	for (size_t i = 0; i < count; i++)
		printf("%s\t%s\t%s\n", info[i].name, info[i].unit, info[i].doc);
}

int main(int argc, char **argv)
{
	const struct viommu_dma_strategy_info *s;

	if (argc == 2 && !strcmp(argv[1], "--statistics")) {
		show_statistics();
		return 0;
	}
	for (size_t i = 0; (s = viommu_dma_strategy_describe(i)); i++)
		show_strategy(s);
	return 0;
}
