//go:build unix

package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestACommandRunsToSuccessOnce(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		ran := filepath.Join(t.TempDir(), "ran")
		fail := launch(t, s.URLs(), "run", "--once", "report", "--", "sh", "-c", "echo failed; exit 3")
		fail.exit(3)
		for i, want := range []string{"ran\n", "", ""} { // what failed is run again; what succeeded is not
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
			t.Error("another job was taken for done")
		}
	})
}

func TestARunThatIsUnderWayIsWaitedForAndNotRepeated(t *testing.T) {
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

func TestALossEndsARunOnce(t *testing.T) {
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

func TestACandidateLeadsWhenTheLeaderHasEnded(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		nobody := launch(t, s.URLs(), "leader", "scheduler")
		nobody.exit(3)
		if got := nobody.stdout.String(); got != "nobody leads\n" {
			t.Errorf("before the election: %q", got)
		}
		watch := launch(t, s.URLs(), "leader", "--watch", "scheduler")
		watch.stdout.line(t, "nobody leads")
		command := testCommand(t, "heedful")
		campaign := func(who string) *program {
			return launch(t, s.URLs(), append([]string{"campaign", "-v", "--candidate", who, "scheduler"}, command...)...)
		}
		first := campaign("host-1")
		first.stdout.line(t, "heedful ready")
		watch.stdout.line(t, "host-1  token ")
		second := campaign("host-2")
		second.stderr.line(t, "campaigning")
		leader := launch(t, s.URLs(), "leader", "scheduler")
		leader.exit(0)
		if got := leader.stdout.String(); !strings.HasPrefix(got, "host-1  token ") {
			t.Errorf("while the first leads: %q", got)
		}
		late := launch(t, s.URLs(), "campaign", "--wait", "100ms", "scheduler", "--", "echo", "never")
		late.exit(75)
		if strings.Contains(late.stderr.String(), "had not answered") {
			harness.Missed(t, late.began, "in 100 ms nobody was asked who leads:\n%s", late.stderr)
		} else if !strings.Contains(late.stderr.String(), `is led by "host-1"`) {
			t.Errorf("who waited in vain is told:\n%s", late.stderr)
		}
		_ = first.cmd.Process.Signal(syscall.SIGTERM)
		first.exit(9)
		second.stdout.line(t, "heedful ready")
		watch.stdout.line(t, "host-2  token ")
		_ = second.cmd.Process.Signal(syscall.SIGTERM)
		second.exit(9)
		_ = watch.cmd.Process.Signal(syscall.SIGTERM)
		watch.exit(0)
	})
}

func TestThatTooFewNodesAnswerIsNotTakenForThatNobodyLeads(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	leader := launch(t, s.URLs(), "leader", "scheduler")
	leader.exit(3)
	s.Stop(0)
	s.Stop(1)
	leader = launch(t, s.URLs(), "leader", "scheduler")
	leader.exit(69)
}
