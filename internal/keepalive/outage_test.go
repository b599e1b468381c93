package keepalive

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// lines is a log of which the messages are kept.
type lines struct {
	slog.Handler
	mu       sync.Mutex
	messages []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.messages = append(l.messages, r.Message)
	return nil
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.messages)
}

// ofOthers is fewer goroutines than there are probes, and more than other tests
// of this process begin or end meanwhile.
const ofOthers = 500

// A node that is dead for an hour costs a probe now and then, and nothing that
// grows: neither goroutines nor lines of the log.
func TestOutage_AnHourWithADeadNodeCostsAProbeNowAndThen(t *testing.T) {
	virtually(t, func(t *testing.T) {
		const long = time.Hour
		log, dead := &lines{}, &gate{}
		c := newMemory(t, 3).openWith(t, nodeset.Config{Logger: slog.New(log)}, &gate{}, &gate{}, dead)
		s := lease(t, c, Config{})
		l, err := s.TryAcquire(t.Context(), "job")
		must(t, err)
		dead.fail()
		work := func(d time.Duration) {
			for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(time.Minute) {
				other, err := s.TryAcquire(t.Context(), "other")
				must(t, err)
				must(t, other.Release(t.Context()))
			}
		}
		work(10 * time.Minute)
		said, refused, goroutines := len(log.all()), dead.refused.Load(), runtime.NumGoroutine()
		work(long)
		if all := log.all(); len(all) > said {
			t.Errorf("the log goes on with %q", all[said:])
		}
		if rate := float64(dead.refused.Load()-refused) / long.Seconds(); rate < 0.5 || rate > 10 {
			t.Errorf("the dead node is dialed %.1f times a second", rate)
		}
		if now := runtime.NumGoroutine(); now > goroutines+ofOthers {
			t.Errorf("%d goroutines became %d", goroutines, now)
		}
		dead.heal()
		time.Sleep(time.Minute)
		if err := l.Err(); err != nil {
			t.Errorf("the lease was lost: %v", err)
		}
		if all := log.all(); !slices.Contains(all, "redlock: node back") {
			t.Errorf("the log does not say that the node is back: %q", all)
		}
		must(t, l.Release(t.Context()))
	})
}

// While no node answers, for as long as it lasts, callers that wait cost nothing
// that grows; afterwards they have their keys.
func TestOutage_MinutesWithoutAnyNodeAreWaitedFor(t *testing.T) {
	virtually(t, func(t *testing.T) {
		const callers, long = 50, 5 * time.Minute
		log, network := &lines{}, &gate{}
		c := newMemory(t, 3).openWith(t, nodeset.Config{Logger: slog.New(log)}, network)
		s := lease(t, c, Config{})
		held, err := s.TryAcquire(t.Context(), "held")
		must(t, err)
		network.fail()
		done := make(chan error, callers)
		for range callers {
			go func() {
				l, err := s.Lock(t.Context(), "key", Request{Parent: t.Context()})
				if err == nil {
					err = l.Release(t.Context())
				}
				done <- err
			}()
		}
		time.Sleep(time.Minute)
		if err := held.Err(); !errors.Is(err, ErrLost) {
			t.Errorf("a lease that no node renews: %v", err)
		}
		said, refused, goroutines := len(log.all()), network.refused.Load(), runtime.NumGoroutine()
		time.Sleep(long)
		if all := log.all(); len(all) > said {
			t.Errorf("the log goes on with %q", all[said:])
		}
		if rate := float64(network.refused.Load()-refused) / long.Seconds() / 3; rate < 0.5 || rate > 10 {
			t.Errorf("each node is dialed %.1f times a second", rate)
		}
		if now := runtime.NumGoroutine(); now > goroutines+ofOthers {
			t.Errorf("%d goroutines became %d", goroutines, now)
		}
		network.heal()
		for range callers {
			must(t, <-done)
		}
	})
}
