package main

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestRepairFences_APoisonedSetIsFoundAndRepaired(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	const fence = "{lock:deploy}:fence"
	poisoned := strconv.FormatInt(time.Now().AddDate(64, 0, 0).UnixMicro(), 10)
	for i := range s.Len() {
		if err := harness.Client(t, s, i).Set(t.Context(), fence, poisoned, time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
	}
	p := launch(t, s.URLs(), "run", "--no-wait", "deploy", "--", "echo", "never")
	p.exit(exitNoQuorum)
	p.prints(`its fence counter of this key lies \d+h.* ahead of this machine's clock`, `--repair-fences`)
	p = launch(t, s.URLs(), "doctor")
	p.exit(exitFailure)
	p.prints(`fence counter of "lock:deploy", \d{16}, lies beyond`, `--repair-fences lock:`)

	counter := func() string { return harness.Client(t, s, 0).Get(t.Context(), fence).Val() }
	before := counter()
	p = launch(t, s.URLs(), "nodes", "--repair-fences", "lock:")
	fmt.Fprintln(p.stdin, "no")
	p.exit(exitFailure)
	p.prints(`lock:deploy +`+names(s.URLs())[2]+` +\d{16}`, `its next tokens will be smaller`, `not confirmed`)
	if got := counter(); got != before {
		t.Errorf("the counter was set to %s without confirmation", got)
	}
	p = launch(t, s.URLs(), "nodes", "--repair-fences", "lock:", "--yes")
	p.exit(0)
	p.prints(`Set 3 counters`)
	p = launch(t, s.URLs(), "nodes", "--repair-fences", "lock:", "--yes")
	p.exit(0)
	p.prints(`No fence counter`)
	launch(t, s.URLs(), "run", "--no-wait", "deploy", "--", "true").exit(0)

	for _, args := range [][]string{{"--yes"}, {"--repair-fences", ""}, {"--repair-fences", "lock:", "-o", "json"}} {
		launch(t, s.URLs(), append([]string{"nodes"}, args...)...).exit(exitUsage)
	}
}

// The output names the keys to delete as they are on the nodes.
func TestRepairFences_TheKeysOfRecordsAreNamedAsTheyAre(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	leases := newLeases(t, s)
	for key, record := range map[string]string{"plain": "{lock:plain}:record", "a{tag}": "lock:a{tag}:record"} {
		began := time.Now()
		l, err := leases.Acquire(t.Context(), key)
		harness.Must(t, began, err)
		harness.Must(t, began, l.Checkpoint(t.Context(), []byte("item 7")))
		node := harness.Client(t, s, 1)
		harness.Eventually(t, "the record is on the node", func() bool { return node.Exists(t.Context(), record, record+":promise").Val() == 2 })
		poison := quorumlock.Companion("lock:"+key, "fence")
		if err := node.Set(t.Context(), poison, "no number", time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		p := launch(t, s.URLs(), "nodes", "--repair-fences", "lock:", "--yes")
		p.exit(0)
		p.prints(`(?m)^RECORD +PROMISE\n` + regexp.QuoteMeta(record) + ` +` + regexp.QuoteMeta(record) + `:promise\n`)
	}
}
