//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestRun_LimitHasSeveralCommandsRunEachInASlot(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	dir := t.TempDir()
	script := fmt.Sprintf(`cd %q; echo "$REDLOCK_KEY $REDLOCK_TOKEN" > "slot-$REDLOCK_SLOT"; while ! [ -e end ]; do sleep 0.05; done`, dir)
	var all []*program
	for range 2 {
		all = append(all, launch(t, s.URLs(), "run", "--limit", "2", "gpu", "--", "sh", "-c", script))
	}
	harness.Eventually(t, "two commands run", func() bool {
		found, _ := filepath.Glob(filepath.Join(dir, "slot-[01]"))
		return len(found) == 2
	})
	third := launch(t, s.URLs(), "run", "--limit", "2", "--no-wait", "gpu", "--", "true")
	third.exit(exitConflict)
	if out := third.stderr.String(); !strings.Contains(out, "Limit(2)") {
		t.Errorf("a third command is refused with %q", out)
	}
	other := launch(t, s.URLs(), "run", "--limit", "3", "gpu", "--", "true")
	other.exit(exitUsage)
	if out := other.stderr.String(); !strings.Contains(out, "Limit(2)") || !strings.Contains(out, "3") {
		t.Errorf("another limit is refused with %q", out)
	}
	operate(t, s.URLs(), 0, "ls").prints(`gpu +limit +2 of 2 slots taken`, `slot 0 .*[23], needs 2`, `slot 1 `)
	operate(t, s.URLs(), 0, "inspect", "gpu").prints(`mode +limit: up to 2 at a time`, `2 of 2 slots taken`, `SLOT +HOLDER`)
	doc := decode[lockDoc](t, operate(t, s.URLs(), 0, "inspect", "gpu", "--output", "json"))
	if doc.Limit != 2 || len(doc.Slots) != 2 || doc.Slots[0].Holder == nil || doc.Slots[0].Holder.PID == 0 {
		t.Errorf("as JSON: %+v", doc)
	}
	if err := os.WriteFile(filepath.Join(dir, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		p.exit(0)
	}
}

func TestRun_LimitThatCannotBe(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	for _, tt := range []struct{ flags, says string }{
		{"--limit 1025 k", "--limit 1025: must be from 1 to 1024"},
		{"--limit 0 k", "--limit 0: must be from 1 to 1024"},
		{"--limit=-1 k", "--limit -1: must be from 1 to 1024"},
		{"--limit 2 --once k", "--limit: use it with one KEY"},
		{"--limit 2 --shared k", "--limit: use it with one KEY"},
		{"--limit 2 a b", "--limit: use it with one KEY"},
	} {
		p := launch(t, s.URLs(), append(append([]string{"run"}, strings.Fields(tt.flags)...), "--", "true")...)
		p.exit(exitUsage)
		if out := p.stderr.String(); !strings.Contains(out, tt.says) {
			t.Errorf("%s: %q", tt.flags, out)
		}
	}
}
