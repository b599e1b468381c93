//go:build unix

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestRunOnce_RunsTheCommandUntilItHasSucceededOnce(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		ran := filepath.Join(t.TempDir(), "ran")
		fail := launch(t, s.URLs(), "run", "--once", "report", "--", "sh", "-c", "echo failed; exit 3")
		fail.exit(3)
		for i, want := range []string{"ran\n", "", ""} { // a failed command runs again, a successful one does not
			p := launch(t, s.URLs(), "run", "-v", "--once", "report", "--", "sh", "-c", "mkdir "+ran+" && echo ran")
			p.exit(0)
			if got := p.stdout.String(); got != want {
				t.Errorf("call %d printed %q, want %q", i, got, want)
			}
			if i > 0 && !strings.Contains(p.stderr.String(), "was done before") {
				t.Errorf("call %d does not say why it did nothing:\n%s", i, p.stderr)
			}
		}
		other := launch(t, s.URLs(), "run", "--once", "another", "--", "echo", "ran")
		other.exit(0)
		if other.stdout.String() != "ran\n" {
			t.Error("another job was considered done")
		}
	})
}

func TestRunOnce_WaitsForARunThatIsUnderWay(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	first := launch(t, s.URLs(), with(testCommand(t, "stubborn"), "--once", "--owner", "the first", "report")...)
	first.stdout.line(t, "stubborn ready")
	impatient := launch(t, s.URLs(), "run", "--once", "--wait", "1s", "-E", "9", "report", "--", "echo", "never")
	impatient.exit(9)
	if out := impatient.stderr.String(); !strings.Contains(out, `"the first"`) || impatient.stdout.String() != "" {
		t.Errorf("it printed %q and %q", impatient.stdout, out)
	}
}

func TestRunOnce_ALossEndsTheCommand(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	p := launch(t, s.URLs(), with(testCommand(t, "heedful"), "--once", "--ttl", "1s", "report")...)
	p.stdout.line(t, "heedful ready")
	for i := range s.Len() {
		s.Stop(i)
	}
	p.exit(76)
	if !strings.Contains(p.stdout.String(), "heedful got 15 ") {
		harness.Missed(t, p.began, "no SIGTERM came, or its receiver had no time to say so:\n%s", p.stdout)
	}
}
