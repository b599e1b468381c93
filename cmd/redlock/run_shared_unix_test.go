//go:build unix

package main

import (
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestRun_SharedRunsTogetherWithSharedOnly(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	reader := []string{"run", "--shared", "key", "--", "sh", "-c", `echo "in $REDLOCK_TOKEN"; cat`}
	one := launch(t, s.URLs(), reader...)
	first := one.stdout.line(t, "in ")
	two := launch(t, s.URLs(), reader...)
	two.stdout.line(t, "in ")
	operate(t, s.URLs(), 75, "run", "--no-wait", "key", "--", "echo", "never").prints(`"key" is held by "readers"`)
	operate(t, s.URLs(), 0, "inspect", "key").prints("key is shared by readers", "mode +shared", "readers +2 processes", `READER +PROCESS`)
	operate(t, s.URLs(), 0, "ls").prints("key +shared +2 readers", " reader ")
	doc := decode[lockDoc](t, operate(t, s.URLs(), 0, "inspect", "key", "--output", "json"))
	if doc.Holder == nil || doc.Holder.Writer != "shared" || doc.Mode != "shared" || len(doc.Readers) != 2 || doc.Readers[0].PID == 0 || doc.Readers[0].LeftMs == nil {
		t.Errorf("%+v", doc)
	}
	writer := launch(t, s.URLs(), "run", "-v", "key", "--", "sh", "-c", `echo "in $REDLOCK_TOKEN"`)
	writer.stderr.line(t, "waiting for")
	one.exit(0)
	two.exit(0)
	writer.exit(0)
	if got := writer.stdout.line(t, "in "); len(got) < len(first) || len(got) == len(first) && got <= first {
		t.Errorf("the writer has %q after readers with %q", got, first)
	}
}

func TestRun_SharedWithWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"a", "b"}, {"--once", "a"}} {
		p := launch(t, []string{"redis://127.0.0.1:1"}, append(append([]string{"run", "--shared"}, args...), "--", "true")...)
		p.exit(2)
		if !strings.Contains(p.stderr.String(), "--shared") {
			t.Errorf("%q: %s", args, p.stderr)
		}
	}
}
