package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
)

func TestRelease_NowFreesTheKeyAtOnce(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	locker := newLocker(t, s.URLs())
	l, err := locker.Lock(t.Context(), "order:42")
	if err != nil {
		t.Fatal(err)
	}
	operate(t, s.URLs(), 2, "release", "order:42")                                // without --force
	operate(t, s.URLs(), 2, "release", "--force", "--output", "json", "order:42") // no user could answer
	operate(t, s.URLs(), exitNobody, "release", "--force", "--yes", "another")    // free
	operate(t, s.URLs(), 0, "release", "--force", "--yes", "--now", "order:42")   // taken
	operate(t, s.URLs(), exitNobody, "inspect", "order:42")                       // and free
	if err := l.Release(t.Context()); !errors.Is(err, lock.ErrLost) {
		t.Errorf("its holder ended by %v", err)
	}
}

// An operator sees from whom the lock is taken, and that there may be more of them.
func TestRelease_NamesTheReaders(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	for range 2 {
		if _, err := newLocker(t, s.URLs()).Lock(t.Context(), "order:42", lock.Shared(), lock.Owner("nightly")); err != nil {
			t.Fatal(err)
		}
	}
	operate(t, s.URLs(), 1, "release", "--force", "order:42").prints("Take it away from 2 readers: nightly ", "They are notified")
	seen, err := newLocker(t, s.URLs()).Inspect(t.Context(), "order:42")
	if err != nil {
		t.Fatal(err)
	}
	seen.MoreReaders = true
	for _, text := range []string{takenFrom(seen), holderText(seen), readersText(seen)} {
		if !strings.HasPrefix(text, "at least 2 ") {
			t.Error(text)
		}
	}
	operate(t, s.URLs(), 0, "release", "--force", "--yes", "order:42").prints("Taken away from 2 readers: nightly ")
}

// A mark of the default MaxTTL may end before the deadline of a program with a
// longer one.
func TestRelease_WantsTheMaxTTLOfTheHolder(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: s.URLs(), MaxTTL: time.Hour, Logger: newLogger(true, false)})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	locker, err := lock.New(c, lock.Config{TTL: 10 * time.Minute})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, locker)
	if _, err := locker.Lock(t.Context(), "order:42"); err != nil {
		t.Fatal(err)
	}
	operate(t, s.URLs(), exitUsage, "release", "--force", "--yes", "order:42").prints(`--max-ttl 1m0s: order:42 has (9m\d+|10m0)s left`)
	operate(t, s.URLs(), exitUsage, "release", "--force", "--yes", "--max-ttl", "1ms", "order:42").prints("--max-ttl 1ms: must be at least 1s")
	operate(t, s.URLs(), 0, "release", "--force", "--yes", "--max-ttl", "1h", "order:42").prints("Taken away from")
}
