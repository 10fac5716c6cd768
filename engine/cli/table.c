/* SPDX-License-Identifier: Apache-2.0
 * table - all verbs and all options.
 */
#include "engine/cli/cli.h"

#include <string.h>

#define PHASE_WORDS "assess|backup|convert|reconfigure|validate|cutover"

const struct option_row option_rows[OPT_COUNT] = {
	[OPT_MACHINE] = { "machine", 'm', "NAME", NULL,
		"only these machines: a name, a glob, or label=value" },
	[OPT_ONLY] = { "only", 0, "PHASE", PHASE_WORDS, "only this phase" },
	[OPT_UNTIL] = { "until", 0, "PHASE", PHASE_WORDS, "up to and including this phase" },
	[OPT_STATE] = { "state", 0, "DIR", NULL,
		"where the history is kept (default: .drover beside the plan)" },
	[OPT_JSON] = { "json", 0, NULL, NULL, "JSON Lines for programs instead of the screen" },
	[OPT_COLOR] = { "color", 0, "WHEN", "auto|always|never",
		"colours: auto, always or never (NO_COLOR is honoured)" },
	[OPT_VERBOSE] = { "verbose", 'v', NULL, NULL, "say more; may be repeated" },
	[OPT_YES] = { "yes", 'y', NULL, NULL,
		"answer yes; never for fencing, discarding or finalizing" },
	[OPT_HELP] = { "help", 'h', NULL, NULL, "this text" },
	[OPT_VERSION] = { "version", 'V', NULL, NULL, "which drover this is" },
	[OPT_OUTPUT] = { "output", 'o', "FILE", NULL,
		"save the preview; `run FILE` or `cutover FILE` then does exactly that" },
	[OPT_DETAILED] = { "detailed-exitcode", 0, NULL, NULL,
		"exit 0: nothing to do, 1: error, 2: there are changes" },
	[OPT_PREVIEW] = { "preview", 0, NULL, NULL, "show what would happen; change nothing" },
	[OPT_EXPAND] = { "expand", 0, NULL, NULL,
		"print the plan with its recipes fully written out" },
	[OPT_DIFF] = { "diff", 0, NULL, NULL, "show every change of a text as a diff" },
	[OPT_DISCARD] = { "discard-target-writes", 0, NULL, NULL,
		"give up what the target wrote since it serves" },
	[OPT_TO] = { "to", 0, "PHASE", PHASE_WORDS, "back to before this phase (default: the start)" },
	[OPT_CONFIRM] = { "confirm", 0, "NAME", NULL,
		"the name to be typed, where nobody is there to type it" },
	[OPT_LIMIT] = { "limit", 'n', "COUNT", NULL, "at most so many lines" },
	[OPT_MAN] = { "man", 0, NULL, NULL, NULL },
	[OPT_PIN] = { "pin", 0, "HOST", NULL,
		"show the key of this host and, once confirmed, trust it from now on" },
	[OPT_KEEP] = { "keep", 0, "COUNT", NULL, "how many of each machine's newest backups stay" },
	[OPT_GO_ON] = { "keep", 0, NULL, NULL, "go on, pass after pass, until Ctrl-C or a cutover" },
	[OPT_WAIT] = { "wait", 0, "DURATION", NULL,
		"how long a sync --keep may take to end its pass (default: 10m)" },
	[OPT_SAMPLE] = { "sample", 0, NULL, NULL, "look at one chunk in twenty only" },
};

const struct verb verbs[] = {
	{ "check", "PLAN", 1, 1, "compile the plan; no host is touched",
	  "Reads the plan and what it includes, checks every key, value, name and order, "
	  "builds the graph of steps, and tells all errors that can be found, each with "
	  "its place. Exit status 0 when the plan is right, 2 when it is not.",
	  "drover check erp.yaml", { OPT_EXPAND }, verb_check },
	{ "preview", "PLAN", 1, 1, "what would happen, asked of the hosts; nothing is changed",
	  "Connects to the hosts, lets every step's module look, and prints per machine and "
	  "phase what would be created (+), changed (~), removed (-), is as wanted already "
	  "(=), is left out (.), or cannot be known before an earlier step (?, with its "
	  "bound). Findings come first.\n\n"
	  "Times are estimates, of what earlier runs of the same state measured, rehearsals "
	  "that were rolled back included: the middle of them, and behind P90 what nine of ten "
	  "stay under. Until something was measured 100 MiB/s are assumed, and a minute for "
	  "what boots or stops.\n\n"
	  "With -o the preview is saved; `drover run FILE` does exactly that, or stops with "
	  "status 5 and says what differs.",
	  "drover preview erp.yaml\ndrover preview erp.yaml -o erp.preview",
	  { OPT_OUTPUT, OPT_DETAILED, OPT_EXPAND, OPT_DIFF }, verb_preview },
	{ "run", "PLAN|PREVIEW", 1, 1, "do it, up to and including validate",
	  "Runs every phase up to and including validate; the source keeps serving. What was "
	  "done already is not done again, and what was interrupted is looked at first: the "
	  "same command goes on with a run that stopped for any reason.\n\n"
	  "Ctrl-C stops a copy where it is and lets other steps reach a safe point; a second "
	  "one stops those too.",
	  "drover run erp.yaml\ndrover run erp.preview\ndrover run erp.yaml --machine erp-db "
	  "--until convert",
	  { OPT_DIFF }, verb_run },
	{ "sync", "PLAN", 1, 1, "a further pass while the source serves",
	  "Copies what changed since the last pass, reads back what that wrote, and records the "
	  "digest of the whole disk. The fewer changes are left, the shorter the last pass of the "
	  "cutover; after each pass it is said how long that one would take now.\n\n"
	  "Where the source's writes are known (they are traced, or a dirty bitmap or a snapshot of "
	  "LVM has them) only what was written is read; else all of it is, and digests are compared.",
	  "drover sync erp.yaml\ndrover sync erp.yaml --keep", { OPT_GO_ON }, verb_sync },
	{ "cutover", "PLAN|PREVIEW", 1, 1, "the last pass and the switch to the target",
	  "Drains, quiesces, copies what changed, proves the copy, stops the source and proves "
	  "that it is off, starts the target, and runs the checks. Up to the moment the target "
	  "serves, `drover rollback` brings the source back.\n\n"
	  "The preview says how long nobody will serve, an estimate like those of "
	  "`drover preview`, beside what the plan's `downtime` allows.\n\n"
	  "A `drover sync --keep` that holds the same state is asked to end when its pass is "
	  "over; the cutover waits for that and takes over, the writes still traced.",
	  "drover cutover erp.yaml --preview\ndrover cutover erp.yaml --machine erp-db",
	  { OPT_PREVIEW, OPT_OUTPUT, OPT_DIFF, OPT_WAIT }, verb_cutover },
	{ "rollback", "PLAN", 1, 1, "back to the start, or to before a phase",
	  "Undoes the steps in reverse order, asks the probes again and compares what they "
	  "say with what was recorded before. Once the target has served it refuses: "
	  "--discard-target-writes gives up what the target wrote since, and says what is "
	  "lost.",
	  "drover rollback erp.yaml --preview\ndrover rollback erp.yaml --to reconfigure",
	  { OPT_PREVIEW, OPT_TO, OPT_DISCARD, OPT_DIFF }, verb_rollback },
	{ "cleanup", "PLAN", 1, 1, "remove what is temporary; what rollback needs stays",
	  "Takes away everything temporary that runs left on the hosts: processes, files, "
	  "snapshots, ports, mounts, test machines. What rollback needs stays until "
	  "`drover finalize`.",
	  "drover cleanup erp.yaml", { 0 }, verb_cleanup },
	{ "finalize", "PLAN", 1, 1, "end the possibility of rollback",
	  "Merges overlays and drops what rollback would need. This cannot be taken back: the "
	  "plan's name has to be typed, or given with --confirm; -y does not answer it.",
	  "drover finalize erp.yaml\ndrover finalize erp.yaml --confirm erp",
	  { OPT_CONFIRM }, verb_finalize },
	{ "status", "PLAN", 1, 1, "machine by phase, and who serves",
	  "Reads the recorded state; no host is touched.",
	  "drover status erp.yaml", { 0 }, verb_status },
	{ "log", "PLAN", 1, 1, "the history of the machines, newest first",
	  "One line per recorded transition: when, which machine, its id, what happened.",
	  "drover log erp.yaml\ndrover log erp.yaml --machine erp-db -n 20",
	  { OPT_LIMIT }, verb_log },
	{ "show", "PLAN [REV [PATH]]", 1, 3, "what was known of a machine at a point",
	  "REV is HEAD, HEAD~3, the beginning of a commit's id, or a phase's name, which means "
	  "its beginning. Without PATH the recorded files are listed.",
	  "drover show erp.yaml -m erp-db\ndrover show erp.yaml HEAD description.json -m erp-db",
	  { 0 }, verb_show },
	{ "diff", "PLAN [REV [REV]]", 1, 3, "what changed between two points of the history",
	  "REV is as for `drover show`. Without any the newest transition is shown.",
	  "drover diff erp.yaml convert HEAD -m erp-db", { 0 }, verb_diff },
	{ "hosts", "PLAN", 1, 1, "ask each host: reachable, system, tools it has and lacks",
	  "Connects to every host of the plan and starts the agent there; nothing is changed.",
	  "drover hosts erp.yaml\ndrover hosts erp.yaml --pin db1", { OPT_PIN }, verb_hosts },
	{ "modules", "[NAME]", 0, 1, "the modules and their parameters",
	  "Without NAME all modules are listed; with one its parameters, places and tools.",
	  "drover modules\ndrover modules convert.disks", { 0 }, verb_modules },
	{ "backups", "list|verify|restore|prune PLAN ...", 1, 5,
	  "list, verify, restore, prune backups",
	  "Images that backup steps made, at the places that the plan names. A chunk that several "
	  "backups hold is kept once; ADDED is what a backup brought that was not there.\n\n"
	  "`verify` reads every chunk and compares its digest; with a BACKUP only that one, with "
	  "--sample one chunk in twenty. `restore` writes one disk to a path on the host where the "
	  "backup lies: a file that is not there yet, or a device that nothing uses; when it was "
	  "interrupted, the same command goes on with it. `prune` removes all but the newest COUNT "
	  "backups of each machine, and gives back the room of what no other backup needs.",
	  "drover backups list erp.yaml\ndrover backups verify erp.yaml --sample\n"
	  "drover backups restore erp.yaml 20260201T100000Z-7f3a2c91 root /srv/root.raw\n"
	  "drover backups prune erp.yaml --keep 3 --preview",
	  { OPT_SAMPLE, OPT_KEEP, OPT_PREVIEW }, verb_backups },
	{ "help", "[VERB]", 0, 1, "this text, or a verb's page", NULL,
	  "drover help run", { OPT_MAN }, verb_help },
	{ "version", "", 0, 0, "which drover this is", NULL,
	  "drover version", { 0 }, verb_version },
	{ NULL, NULL, 0, 0, NULL, NULL, NULL, { 0 }, NULL },
};
const size_t verb_count = sizeof(verbs) / sizeof(verbs[0]) - 1;

const struct verb *verb_find(const char *name)
{
	for (const struct verb *v = verbs; v->name; v++)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

bool verb_takes(const struct verb *v, enum opt o)
{
	if (o < OPT_SHARED_COUNT)
		return true;
	for (size_t i = 0; i < VERB_OPTIONS && v->options[i]; i++)
		if (v->options[i] == o)
			return true;
	return false;
}
