package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/test/machine"
)

// shown is how many lines of a failure are printed.
const shown = 40

// test names a test and what it printed.
type test struct {
	pkg, name string
	took      time.Duration
	said      string
}

// pattern returns the argument of -run that selects the test.
func (t test) pattern() string {
	parts := strings.Split(t.name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// short returns the test's name without the module path.
func (t test) short() string {
	return strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(t.pkg, "github.com/venta-hq/redlock"), "/") + " " + t.name)
}

type failedTest struct {
	test
	output  []string
	command command // that ran it
}

// again returns the command line that repeats the test.
func (f failedTest) again() string {
	words := slices.Clone(f.command.env)
	if seed := seedIn.FindStringSubmatch(f.name); seed != nil {
		words = append(words, "REDLOCK_CHAOS_SEED="+seed[1])
	}
	words = append(words, "go")
	if f.command.dir != "" {
		words = append(words, "-C", f.command.dir)
	}
	words = append(words, "test", "-count=1")
	if slices.Contains(f.command.args, "-race") {
		words = append(words, "-race")
	}
	return strings.Join(append(words, "-run", "'"+f.pattern()+"'", f.pkg), " ")
}

// results are the parsed output of go test.
type results struct {
	passed       int
	failed       []failedTest
	skipped      []test
	inconclusive []test
	timed        []test          // passed tests without subtests
	nodes        string          // the backends of the tests, by package harness
	ended        map[string]bool // by package and name: tests that passed, failed or were skipped
}

func (r *results) add(o results) {
	r.passed += o.passed
	r.failed = append(r.failed, o.failed...)
	r.skipped = append(r.skipped, o.skipped...)
	r.inconclusive = append(r.inconclusive, o.inconclusive...)
	r.timed = append(r.timed, o.timed...)
	r.nodes = cmp.Or(r.nodes, o.nodes)
}

// failure returns the reports of the failed tests, violations of promises
// first.
func (r results) failure() string {
	var b strings.Builder
	for _, f := range r.failed {
		name := "FAIL"
		if f.pkg != "" {
			name = "FAIL " + f.short()
		}
		fmt.Fprintln(&b, strings.TrimSpace(name))
		lines := f.worthReading()
		for _, line := range lines[:min(len(lines), shown)] {
			fmt.Fprintln(&b, "  "+line)
		}
		if n := len(lines) - shown; n > 0 {
			fmt.Fprintf(&b, "  and %d lines more\n", n)
		}
		if f.name != "" {
			fmt.Fprintf(&b, "  again: %s\n", f.again())
		}
	}
	return b.String()
}

var reportLine = regexp.MustCompile(`^\s+[\w.-]+\.go:\d+: `)

// reported returns the lines that the test itself reported.
func (f failedTest) reported() (lines []string) {
	inside := false
	for _, line := range f.output {
		line = strings.TrimRight(line, "\n")
		switch {
		case reportLine.MatchString(line):
			inside = true
			lines = append(lines, strings.TrimSpace(line))
		case inside && strings.HasPrefix(line, "        "):
			lines = append(lines, line)
		default:
			inside = false
		}
	}
	return lines
}

// worthReading returns the lines to show: those that the test reported, or its
// whole output if it reported nothing, panicked or has a data race.
func (f failedTest) worthReading() []string {
	lines := f.reported()
	if len(lines) > 0 && !slices.ContainsFunc(f.output, crashed) {
		return lines
	}
	lines = nil
	for _, line := range f.output {
		lines = append(lines, strings.TrimRight(line, "\n"))
	}
	return lines
}

func crashed(line string) bool {
	return strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "WARNING: DATA RACE")
}

// parser parses the output of go test -json.
type parser struct {
	results *results
	command command
	log     io.Writer
	outputs map[string][]string // by package and test
	parents map[string]bool     // tests with subtests
}

type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

func (p *parser) line(text []byte) {
	if len(text) == 0 {
		return
	}
	var e event
	if json.Unmarshal(text, &e) != nil {
		_, _ = p.log.Write(text)
		return
	}
	if p.outputs == nil {
		p.outputs, p.parents, p.results.ended = map[string][]string{}, map[string]bool{}, map[string]bool{}
	}
	pkg := cmp.Or(e.Package, e.ImportPath)
	id := pkg + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		_, _ = io.WriteString(p.log, e.Output)
		p.outputs[id] = append(p.outputs[id], e.Output)
		if nodes, ok := strings.CutPrefix(strings.TrimSpace(e.Output), "harness_test.go:"); ok && e.Test == "TestBackends_AreLogged" {
			_, p.results.nodes, _ = strings.Cut(nodes, ": ")
		}
	case "run":
		if i := strings.LastIndexByte(e.Test, '/'); i > 0 {
			p.parents[pkg+" "+e.Test[:i]] = true
		}
	case "pass", "fail", "skip", "build-fail":
		p.ended(e, pkg, id)
		delete(p.outputs, id)
	}
}

// ended processes the end of a test or a package.
func (p *parser) ended(e event, pkg, id string) {
	t := test{pkg: pkg, name: e.Test, took: time.Duration(e.Elapsed * float64(time.Second))}
	leaf := e.Test != "" && !p.parents[id]
	r := p.results
	r.ended[id] = true
	switch e.Action {
	case "pass":
		if leaf {
			r.passed++
			r.timed = append(r.timed, t)
		}
	case "skip":
		if e.Test == "" {
			return // a package without tests
		}
		t.said = skipReason(p.outputs[id])
		if strings.Contains(t.said, machine.Inconclusive) {
			r.inconclusive = append(r.inconclusive, t)
			return
		}
		r.skipped = append(r.skipped, t)
	case "build-fail":
		r.failed = append(r.failed, failedTest{t, p.outputs[id], p.command})
	case "fail":
		if e.Test == "" && slices.ContainsFunc(r.failed, func(f failedTest) bool { return f.pkg == pkg }) {
			return // because of that test
		}
		own := failedTest{t, p.outputs[id], p.command}
		if !leaf && e.Test != "" && len(own.reported()) == 0 {
			return // because of a subtest
		}
		r.failed = append(r.failed, own)
	}
}

// skipReason returns the message of a skipped test.
func skipReason(output []string) string {
	for _, line := range slices.Backward(output) {
		if reportLine.MatchString(line) {
			_, reason, _ := strings.Cut(strings.TrimSpace(line), ": ")
			return reason
		}
	}
	return "without a reason"
}
