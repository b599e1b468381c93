//go:build unix

package main

import (
	"strings"
	"syscall"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestCampaign_ACandidateLeadsWhenTheLeaderHasEnded(t *testing.T) {
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
			t.Errorf("the error of a wait without success:\n%s", late.stderr)
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
