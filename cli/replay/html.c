/* SPDX-License-Identifier: BSD-3-Clause */
/* A report as one page: no script, nothing from elsewhere, light and dark, and on paper. */
#include <stdlib.h>
#include <string.h>

#include "cli/replay/output.h"

static const char style[] =
	":root{color-scheme:light "
	"dark;--ink:#1b2733;--soft:#5b6b7b;--paper:#fff;--panel:#f5f7f9;--line:#dfe5ea;"
	"--safe:#12805c;--limited:#b26a00;--kept:#c2410c;--open:#b42318;--accent:#1f5fbf}\n"
	"@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9fb0c0;--paper:#10161d;--panel:#"
	"18212b;"
	"--line:#2b3947;--safe:#3fc796;--limited:#f0b429;--kept:#ff8f57;--open:#ff7b72;--accent:#7fb2ff}}\n"
	"*{box-sizing:border-box}body{margin:0 auto;max-width:1080px;padding:28px 24px "
	"48px;background:var(--paper);"
	"color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\n"
	"h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:34px 0 6px}p{margin:6px "
	"0}.soft{color:var(--soft)}\n"
	".choice-box{background:var(--panel);border-left:5px solid var(--accent);padding:12px "
	"18px;border-radius:4px;"
	"margin:18px 0}.choice-box p.choose{font-size:17px;font-weight:600}\n"
	"svg{width:100%;height:auto;display:block;font:12px system-ui,sans-serif;overflow:visible}\n"
	"svg text{fill:var(--ink)}svg .tick,svg .title{fill:var(--soft)}svg .choice{font-weight:700}\n"
	".grid{stroke:var(--line)}.faint{stroke-dasharray:2 4}.leader{stroke:var(--soft);stroke-width:.8}"
	".spread{stroke:var(--soft);stroke-width:2}\n"
	".point{stroke:var(--paper);stroke-width:1.5}.safe{fill:var(--safe)}.limited{fill:var(--limited)}"
	".kept{fill:var(--kept)}.open.point{fill:var(--paper);stroke:var(--open);stroke-width:2.5}\n"
	".chosen{fill:none;stroke:var(--accent);stroke-width:2}\n"
	".series{fill:none;stroke-width:1.8}.c0{stroke:#b42318}.c1{stroke:#e8743b;stroke-dasharray:8 3}"
	".c2{stroke:#12805c}.c3{stroke:#2f9bd6;stroke-dasharray:6 3}.c4{stroke:#8d5cc4}"
	".c5{stroke:#c14a9b;stroke-dasharray:3 3}.c6{stroke:#b08400}.c7{stroke:#1f5fbf;stroke-width:2.6}"
	".c8{stroke:#6b8e23;stroke-dasharray:10 3}.c9{stroke:#00857c;stroke-dasharray:2 "
	"3}.c10{stroke:#7a7f87}"
	".c11{stroke:#a0522d}\n"
	".key{display:flex;flex-wrap:wrap;gap:4px 22px;margin:8px 0 "
	"0;padding:0;list-style:none;font-size:13px}"
	".key svg{width:14px;height:14px;display:inline-block;vertical-align:-2px;margin-right:5px}\n"
	".scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:"
	"13px;"
	"width:100%}th,td{padding:4px 7px;text-align:right;border-bottom:1px solid "
	"var(--line);white-space:nowrap}"
	"th:first-child,td:first-child{text-align:left}thead th{color:var(--soft);font-weight:600}"
	"thead tr:first-child th{border-bottom:0;text-align:left}tr.chosen-row td{background:var(--panel);"
	"font-weight:600}td "
	".dot{display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:7px}\n"
	"dl{display:grid;grid-template-columns:max-content 1fr;gap:2px "
	"16px;font-size:13px}dt{font-weight:600}dd{margin:0}\n"
	"@media "
	"print{body{max-width:none;padding:0;font-size:12px}h2,svg,table{break-inside:avoid}.scroll{overflow:"
	"visible}table{font-size:9.5px}th,td{padding:2px 4px}}\n";

void replay_print_escaped(FILE *to, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '<':
			fputs("&lt;", to);
			break;
		case '>':
			fputs("&gt;", to);
			break;
		case '&':
			fputs("&amp;", to);
			break;
		case '"':
			fputs("&quot;", to);
			break;
		default:
			/* Of a trace all may come; what is not UTF-8 would make the page none. */
			fputc((unsigned char)*text < ' ' || (unsigned char)*text > '~' ? '?' : *text, to);
		}
	}
}

static void print_head(FILE *to, const struct replay_report *r)
{
	char memory[32], duration[32];

	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
	      "<title>DMA mapping strategies: ",
	      to);
	replay_print_escaped(to, r->file);
	fprintf(to, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<h1>When to map, when to unmap</h1>\n",
		style);
	replay_format_number((double)r->memory, memory, sizeof(memory));
	replay_format_time(r->count ? r->results[0].duration_s * 1e6 : 0, duration, sizeof(duration));
	fputs("<p class=\"soft\">", to);
	replay_print_escaped(to, r->file);
	fprintf(to, ": %llu buffers", (unsigned long long)r->maps);
	if (r->inferred)
		fprintf(to, " (%llu of them inferred)", (unsigned long long)r->inferred);
	fprintf(to, " in %s, in %sB of memory, of ", duration, memory);
	for (unsigned i = 0; i < r->device_count; i++) {
		fputs(i ? ", " : "", to);
		replay_print_escaped(to, r->devices[i]);
	}
	fprintf(to,
		". Each strategy was executed on an emulated VT-d unit, registers by %s, in the time of the "
		"recording.</p>\n",
		r->count && !strcmp(r->results[0].registers, "trap") ? "traps" : "a sidecore");
}

static void print_paragraph(FILE *to, const char *text, size_t len)
{
	char *copy = strndup(text, len);

	if (!copy)
		return;
	fprintf(to, "<p%s>", strncmp(copy, "Choose ", 7) ? "" : " class=\"choose\"");
	replay_print_escaped(to, copy);
	fputs("</p>\n", to);
	free(copy);
}

/* The choice first: that is what one came for. */
static void print_advice(FILE *to, const struct replay_report *r)
{
	char *text = NULL;
	size_t size = 0;
	FILE *words = open_memstream(&text, &size);

	if (!words)
		return;
	replay_print_advice(words, r->results, r->count, 100000);
	fclose(words);
	fputs("<div class=\"choice-box\">\n", to);
	for (unsigned rest = 0; rest < 2; rest++) {
		for (char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n')
			if (!strncmp(at, "Choose ", 7) == !rest)
				print_paragraph(to, at, strcspn(at, "\n"));
	}
	fputs("</div>\n", to);
	free(text);
}

static void print_key(FILE *to)
{
	static const struct {
		const char *class, *text;
	} keys[] = {
		{"safe", "nothing in reach after unmap"},
		{"limited", "in reach for at most 100 ms after unmap"},
		{"kept", "kept in reach for longer"},
		{"open", "all memory in reach, always"},
	};

	fputs("<ul class=\"key\">\n", to);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		fprintf(to,
			"<li><svg viewBox=\"0 0 14 14\"><circle class=\"point %s\" cx=\"7\" cy=\"7\" "
			"r=\"5.5\"/></svg>%s</li>\n",
			keys[i].class, keys[i].text);
	fputs("<li><svg viewBox=\"0 0 14 14\"><circle class=\"chosen\" cx=\"7\" cy=\"7\" r=\"6\"/></svg>the "
	      "one to "
	      "choose on this trace</li>\n</ul>\n",
	      to);
}

static void print_charts(FILE *to, const struct replay_report *r)
{
	fputs("<h2>Cost against exposure</h2>\n<p class=\"soft\">Left is cheap, low is safe. Upwards: bytes "
	      "that a "
	      "device could reach though they belong to no buffer that is mapped, on average over the time "
	      "of the "
	      "trace; a buffer of 54 bytes exposes its page of 4096. A line from a point to the "
	      "right goes to the median of the rounds in which calls were timed: where it is long, other "
	      "programs "
	      "were in the way, and less is known.</p>\n",
	      to);
	replay_print_costs_chart(to, r);
	print_key(to);
	fputs("<h2>Mapped pages over time</h2>\n<p class=\"soft\">What is in the tables, or taken out and "
	      "not yet "
	      "invalidated. Passthrough and software-only map nothing: there the device reaches all "
	      "memory.</p>\n",
	      to);
	replay_print_pages_chart(to, r);
}

/* ---------------------------------------------------------------------- the table */

static void print_group_headings(FILE *to, const struct replay_shown *shown, size_t count)
{
	fputs("<tr><th></th>", to);
	for (size_t i = 0; i < count;) {
		size_t next = i + 1;

		while (next < count && !*shown[next].group)
			next++;
		fprintf(to, "<th colspan=\"%zu\">%s</th>", next - i, shown[i].group);
		i = next;
	}
	fputs("</tr>\n", to);
}

static void print_headings(FILE *to, const struct replay_shown *shown, size_t count)
{
	fputs("<thead>\n", to);
	print_group_headings(to, shown, count);
	fputs("<tr><th>strategy</th>", to);
	for (size_t i = 0; i < count; i++)
		fprintf(to, "<th title=\"%s\">%s</th>", replay_find_column(shown[i].column)->doc,
			shown[i].heading);
	fputs("</tr>\n</thead>\n", to);
}

static void print_row(FILE *to, const struct replay_result *r, bool chosen, const struct replay_shown *shown,
		      size_t count)
{
	char text[32];

	fprintf(to, "<tr%s><td><span class=\"dot\" style=\"background:var(--%s)\"></span>",
		chosen ? " class=\"chosen-row\"" : "", replay_kind(r));
	replay_print_escaped(to, r->strategy);
	fputs("</td>", to);
	for (size_t i = 0; i < count; i++) {
		shown[i].format(replay_value(r, replay_find_column(shown[i].column)), text, sizeof(text));
		fprintf(to, "<td>%s</td>", text);
	}
	fputs("</tr>\n", to);
}

static void print_table(FILE *to, const struct replay_report *r)
{
	const struct replay_result *choice = replay_choice(r->results, r->count);
	size_t count;
	const struct replay_shown *shown = replay_shown(&count);

	fputs("<h2>All figures</h2>\n<div class=\"scroll\">\n<table>\n", to);
	print_headings(to, shown, count);
	fputs("<tbody>\n", to);
	for (size_t i = 0; i < r->count; i++)
		if (!*r->results[i].why_not)
			print_row(to, &r->results[i], &r->results[i] == choice, shown, count);
	fputs("</tbody>\n</table>\n</div>\n", to);
	for (size_t i = 0; i < r->count; i++) {
		if (!*r->results[i].why_not)
			continue;
		fputs("<p>", to);
		replay_print_escaped(to, r->results[i].strategy);
		fputs(" does not run here: ", to);
		replay_print_escaped(to, r->results[i].why_not);
		fputs(".</p>\n", to);
	}
}

/* What each strategy is, and what its columns mean. */
static void print_words(FILE *to, const struct replay_report *r)
{
	const struct viommu_dma_strategy_info *info;
	size_t count;
	const struct replay_shown *shown = replay_shown(&count);

	fputs("<h2>The strategies</h2>\n<dl>\n", to);
	for (size_t i = 0; (info = viommu_dma_strategy_describe(i)); i++)
		for (size_t k = 0; k < r->count; k++)
			if (!strncmp(r->results[k].strategy, info->name, strlen(info->name))) {
				fprintf(to,
					"<dt>%s</dt><dd>%s <span class=\"soft\">In reach: %s</span></dd>\n",
					info->name, info->doc, info->promise);
				break;
			}
	fputs("</dl>\n<h2>The columns</h2>\n<dl>\n", to);
	for (size_t i = 0; i < count; i++) {
		const char *group = "";

		for (size_t k = 0; k <= i; k++)
			group = *shown[k].group ? shown[k].group : group;
		fprintf(to, "<dt>%s, %s</dt><dd>%s</dd>\n", group, shown[i].heading,
			replay_find_column(shown[i].column)->doc);
	}
	fputs("</dl>\n", to);
}

static void print_counts(FILE *to, const struct replay_report *r)
{
	fputs("<h2>What was read, and what was not joined</h2>\n<dl>\n", to);
	for (size_t i = 0; i < r->count_count; i++)
		if (r->counts[i].value)
			fprintf(to, "<dt>%llu</dt><dd>%s</dd>\n", (unsigned long long)r->counts[i].value,
				r->counts[i].doc);
	fputs("</dl>\n", to);
}

static void print_missing(FILE *to, const struct replay_report *r)
{
	if (!r->missing || !*r->missing)
		return;
	fputs("<p><strong>Mind that ", to);
	replay_print_escaped(to, r->missing);
	fputs(".</strong></p>\n", to);
}

void replay_print_html(FILE *to, const struct replay_report *r)
{
	print_head(to, r);
	print_missing(to, r);
	print_advice(to, r);
	print_charts(to, r);
	print_table(to, r);
	print_words(to, r);
	print_counts(to, r);
	fputs("<p class=\"soft\">Made by viommu replay --html. Times of calls are of the machine that it ran "
	      "on.</p>\n"
	      "</body>\n</html>\n",
	      to);
}
