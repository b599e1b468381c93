//go:build unix

package main

import (
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestOnce_AFinishedJobIsSeenAndForgotten(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		once := func(job, want string) {
			t.Helper()
			p := launch(t, s.URLs(), "run", "--once", "--owner", "nightly", job, "--", "echo", "ran")
			p.exit(0)
			if got := p.stdout.String(); got != want {
				t.Errorf("%s printed %q, want %q", job, got, want)
			}
		}
		once("report", "ran\n")
		once("repair{7}", "ran\n")
		p := launch(t, s.URLs(), "once", "ls")
		p.exit(0)
		p.prints(`report +\S+ ago +nightly`, `repair\{7\} +\S+ ago +nightly`, `2 jobs are done`)
		p = launch(t, s.URLs(), "once", "ls", "repo", "-o", "json")
		p.exit(0)
		if docs := decode[[]jobDoc](t, p); len(docs) != 1 || docs[0].Job != "report" || docs[0].Owner != "nightly" || docs[0].Token == 0 {
			t.Errorf("%+v", docs)
		}
		harness.Eventually(t, "a slow node to have the release, which was sent when the program ended", func() bool {
			p = launch(t, s.URLs(), "inspect", "once:report")
			return p.ended() == exitNobody
		})
		p.exit(exitNobody)
		p.prints(`The job was done \S+ ago by nightly`)
		p = launch(t, s.URLs(), "once", "forget", "report")
		p.exit(0)
		p = launch(t, s.URLs(), "once", "forget", "report")
		p.exit(exitNobody)
		p.prints(`no run of "\w+" is on record`)
		once("report", "ran\n")
		once("repair{7}", "")
	})
}
