package lock_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

// fleet is programs that lock one key on a set that is resized.
type fleet struct {
	t        *testing.T
	holders  atomic.Int64
	overlaps atomic.Int64
	acquired atomic.Int64
	programs []*fleetProgram
}

type fleetProgram struct {
	c      *cluster.Cluster
	locker *lock.Locker
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// shortConfig has a node that restarted vote after about three seconds.
func shortConfig(urls []string) cluster.Config {
	return cluster.Config{URLs: urls, MaxTTL: 2 * time.Second, NodeTimeout: 250 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
}

func (f *fleet) start(urls []string) *fleetProgram {
	began := time.Now()
	c, err := cluster.Open(context.Background(), shortConfig(urls))
	harness.Must(f.t, began, err)
	locker, err := lock.New(c, lock.Config{TTL: 2 * time.Second})
	harness.Must(f.t, began, err)
	ctx, stop := context.WithCancel(context.Background())
	p := &fleetProgram{c: c, locker: locker, stop: stop}
	p.done.Go(func() {
		for ctx.Err() == nil {
			err := locker.WithLock(ctx, "k", func(ctx context.Context) error {
				if f.holders.Add(1) > 1 {
					f.overlaps.Add(1)
				}
				f.acquired.Add(1)
				select {
				case <-ctx.Done():
				case <-time.After(5 * time.Millisecond):
				}
				f.holders.Add(-1)
				return nil
			})
			if err != nil {
				select { // do not flood nodes that refuse
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		}
	})
	return p
}

func (p *fleetProgram) end() {
	p.stop()
	p.done.Wait()
	_ = p.locker.Close(context.Background())
	_ = p.c.Close(context.Background())
}

// roll gives all programs another list, one after another.
func (f *fleet) roll(urls []string) {
	for i, p := range f.programs {
		f.programs[i] = f.start(urls)
		p.end()
	}
}

// resize runs a resize that is killed at each of its steps once, with the programs rolled when it asks for that.
func (f *fleet) resize(now, next []string, add, remove string) {
	f.t.Helper()
	killed := map[string]bool{}
	for {
		ctx, kill := context.WithTimeout(context.Background(), harness.Patience)
		asked := make(chan struct{}, 1)
		say := func(format string, args ...any) {
			text := fmt.Sprintf(format, args...)
			f.t.Log(text)
			if strings.HasPrefix(text, "Give all programs the new list") {
				asked <- struct{}{}
			}
			if step, _, _ := strings.Cut(text, " "); !killed[step] {
				killed[step] = true
				kill()
			}
		}
		tool, err := nodeset.NewResize(nodeset.Config(shortConfig(now)), add, remove, say)
		if err != nil {
			f.t.Fatal(err)
		}
		began, before := time.Now(), f.acquired.Load()
		ended := harness.Async(func() error { return tool.Run(ctx) })
		select {
		case err = <-ended:
		case <-asked:
			f.roll(next)
			err = <-ended
		}
		tool.Close()
		if ctx.Err() == nil {
			kill()
			harness.Must(f.t, began, err)
			if f.acquired.Load() == before && time.Since(began) > 4*time.Second {
				harness.Missed(f.t, began, "nothing was locked meanwhile")
			}
			return
		}
		kill()
	}
}

// Programs go on locking while their set gets a node and loses another, and the command that does it is killed at each step. With
// REDLOCK_CHAOS_ROUND=full the set has one node at first, and gets two.
func TestResize_NeverTwoHoldersWhileAFleetIsRolled(t *testing.T) {
	t.Parallel()
	harness.Each(t, 4, func(t *testing.T, s harness.Set) {
		u, began := s.URLs(), time.Now()
		f := &fleet{t: t}
		first := 2
		if os.Getenv("REDLOCK_CHAOS_ROUND") == "full" {
			first = 1
		}
		for range 2 {
			f.programs = append(f.programs, f.start(u[:first]))
		}
		defer func() {
			for _, p := range f.programs {
				p.end()
			}
		}()
		if first == 1 {
			f.resize(u[:1], u[:2], u[1], "")
		}
		f.resize(u[:2], u[:3], u[2], "")
		f.resize(u[:3], []string{u[0], u[2]}, "", strings.TrimPrefix(u[1], "redis://"))
		for _, old := range [][]string{u[:1], u[:3]} {
			_, err := cluster.Open(t.Context(), shortConfig(old))
			if lists := fmt.Sprintf("this process lists %d nodes", len(old)); !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "resized to 2 nodes with a quorum of 2") || !strings.Contains(err.Error(), lists) {
				t.Errorf("with an old list of %d: %v", len(old), err)
			}
		}
		if f.acquired.Load() == 0 {
			t.Error("nothing was locked")
		}
		if n := f.overlaps.Load(); n > 0 { // a program that stands still for a TTL does not see its lock end
			harness.Missed(t, began, "%d times in %d two held the key", n, f.acquired.Load())
		}
	})
}
