//go:build unix

package chaos

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/machine"
)

// run is one history and its findings.
type run struct {
	findings
	h    *history
	logs string   // of the clients
	slow []string // processes and nodes that were too slow to judge progress
}

func (r *run) verdict() verdict { return r.findings.verdict(len(r.slow) > 0) }

// report ends the test according to the verdict. It prints the violations, where the files are, and how to repeat the
// run.
func (r *run) report(t *testing.T) {
	t.Helper()
	switch r.verdict() {
	case passed:
		t.Log(r)
		return
	case inconclusive:
		r.logMissed(t)
		t.Log(r)
		t.Skipf("%s: %s", machine.Inconclusive, r.slowest())
	}
	for _, text := range first(20, r.texts()) {
		t.Error(text)
	}
	r.keep(t)
	t.Log(r)
}

// logMissed prints some of the missed progress of an inconclusive run.
func (r *run) logMissed(t *testing.T) {
	t.Helper()
	for _, text := range first(3, r.texts()) {
		t.Log(text)
	}
}

// slowest names some of the processes and nodes that were too slow.
func (r *run) slowest() string { return strings.Join(first(2, r.slow), "; ") }

// first returns the first n texts and the number of the others.
func first(n int, texts []string) []string {
	if len(texts) <= n {
		return texts
	}
	return append(slices.Clone(texts[:n]), fmt.Sprintf("and %d more", len(texts)-n))
}

// texts returns the findings, one line each, violations first.
func (r *run) texts() (texts []string) {
	for _, text := range r.broken {
		texts = append(texts, "violation: "+oneLine(text))
	}
	for _, text := range r.missed {
		texts = append(texts, "missed: "+oneLine(text))
	}
	return texts
}

// oneLine shortens a text, such as a server's log, to one line. The kept files contain the whole text.
func oneLine(text string) string {
	const most = 500
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = text[:most] + " …"
	}
	return text
}

// keep writes the history and the logs to files, and logs where they are and how to repeat the run.
func (r *run) keep(t *testing.T) {
	t.Helper()
	dir := keptDir(t)
	found := strings.Join(append(r.broken, r.missed...), "\n") + "\n"
	err := errors.Join(r.h.keep(dir), os.WriteFile(filepath.Join(dir, "clients.log"), []byte(r.logs), 0o600),
		os.WriteFile(filepath.Join(dir, "findings.log"), []byte(found), 0o600))
	if err != nil {
		t.Errorf("the history could not be written: %v", err)
	}
	t.Logf("the history, the findings and the logs of the clients are in %s", dir)
	t.Logf("to repeat traffic and faults: REDLOCK_CHAOS_SEED=%d go test -run '%s' ./chaos_test",
		r.h.Seed, strings.ReplaceAll(t.Name(), fmt.Sprintf("seed=%d", r.h.Seed), ""))
}

// keptDir returns a directory that outlives the test.
func keptDir(t *testing.T) string {
	if f := flag.Lookup("test.artifacts"); f != nil && f.Value.String() == "true" {
		return t.ArtifactDir()
	}
	dir, err := os.MkdirTemp("", "redlock-chaos-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// String summarizes the run in a few lines.
func (r *run) String() string {
	t := r.h.tally()
	_, excused := r.h.overlaps()
	return fmt.Sprintf("%d faults, %d attempts, %d acquired (%d while faults lasted), %d lost, %d takeovers;\n"+
		"%d acquired to read, %d of them beside another client's readers; %d slots, %d of them the last free one;\n"+
		"store: %d reads, %d writes, %d refused; %d checkpoints, %d resumed; %d leaders; %d stalls, %d overlaps excused",
		t.faults, t.attempts, t.acquired, t.duringFaults, t.lost, t.takeovers, t.shared, t.besideReaders, t.slots, t.full,
		t.reads, t.writes, t.refused, t.kept, t.resumed, t.leaders, t.stalls, excused)
}
