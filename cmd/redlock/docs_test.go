package main

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/venta-hq/redlock/internal/test/harness"
)

const cliPage = "../../docs/cli.md"

// leaves returns the commands that can be run.
func leaves(t *testing.T) []*kong.Node {
	t.Helper()
	parser, err := kong.New(&commands{}, kong.Vars{"version": ""})
	if err != nil {
		t.Fatal(err)
	}
	return parser.Model.Leaves(true)
}

// exitCodes returns the numbers in a text, each once, in order.
func exitCodes(text string) (codes []int) {
	for _, number := range regexp.MustCompile(`\b\d+\b`).FindAllString(text, -1) {
		code, _ := strconv.Atoi(number)
		codes = append(codes, code)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// docs/cli.md lists the exit codes of every command, in the order of the
// commands and as in its help, and all exit codes of the program.
func TestDocs_ExitCodesAreThoseOfTheHelp(t *testing.T) {
	_, table, _ := strings.Cut(harness.ReadFile(t, cliPage), "\n## Exit codes\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var order, want []string
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z ]+)` \\| (.*) \\|$").FindAllStringSubmatch(table, -1) {
		order, rows[m[1]] = append(order, m[1]), m[2]
	}
	for _, n := range leaves(t) {
		name := n.Path()
		want = append(want, name)
		_, said, ok := strings.Cut(n.Detail, "Exit codes: ")
		if !ok && name == "campaign" { // "those of run"
			continue
		}
		if got, want := exitCodes(rows[name]), exitCodes(said); len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: the page has the exit codes %v, the help %v", name, got, want)
		}
	}
	if !slices.Equal(order, want) {
		t.Errorf("the page has the commands %q, the program %q", order, want)
	}
	all := exitCodes(table)
	for _, code := range []int{exitFailure, exitUsage, exitNobody, exitNoQuorum, exitConflict, exitLost, exitStale, exitNoExec, exitNotFound, exitSignal} {
		if !slices.Contains(all, code) {
			t.Errorf("the page lacks the exit code %d", code)
		}
	}
}

// docs/cli.md names the environment variables of flags.
func TestDocs_NameTheVariablesOfFlags(t *testing.T) {
	page, found := harness.ReadFile(t, cliPage), 0
	for _, n := range leaves(t) {
		for _, f := range n.Flags {
			for _, m := range regexp.MustCompile(`\$(REDLOCK_\w+)`).FindAllStringSubmatch(f.Help, -1) {
				if found++; !strings.Contains(page, "`"+m[1]+"`") {
					t.Errorf("%s: the page does not name %s", f.Name, m[1])
				}
			}
		}
	}
	if found == 0 {
		t.Error("no flag takes its default from a variable")
	}
}
