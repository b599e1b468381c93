//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// operator resizes the set like redlock resize, and restarts the clients with the new list when the resize asks for it.
// Some resizes are killed at a random line, and run again.
type operator struct {
	stage   *stage
	members *members
	sizes   []int // sizes still to come
	tempo   Tempo
	drawn   *rand.Rand
	resizes []span
	log     strings.Builder // output of the resizes
}

func newOperator(s *stage, m *members, sc Scenario, drawn *rand.Rand) *operator {
	return &operator{
		stage: s, members: m, sizes: sc.Sizes[1:], tempo: sc.Tempo,
		drawn: rand.New(rand.NewPCG(drawn.Uint64(), drawn.Uint64())),
	}
}

// work makes all changes within length, while the faults happen.
func (o *operator) work(ctx context.Context, faults []Fault, length time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- o.changes(ctx) }()
	for _, f := range faults {
		select {
		case err := <-ended:
			return err
		case <-time.After(f.after):
		}
		f.after = 0
		if err := o.stage.happen(o.members.among(f)); err != nil {
			cancel()
			<-ended
			return err
		}
	}
	return <-ended
}

// changes brings the set to each size in turn.
func (o *operator) changes(ctx context.Context) error {
	used := slices.Clone(o.members.listed())
	for _, size := range o.sizes {
		for now := o.members.listed(); len(now) != size; now = o.members.listed() {
			if len(now) > size {
				n := now[o.drawn.IntN(len(now))]
				if err := o.change(ctx, slices.DeleteFunc(slices.Clone(now), func(m int) bool { return m == n }), -1, n); err != nil {
					return err
				}
				continue
			}
			n := o.other(now, used)
			used = append(used, n)
			if err := o.change(ctx, append(slices.Clone(now), n), n, -1); err != nil {
				return err
			}
		}
	}
	return nil
}

// other draws a node that is not in the set, preferably one that never was.
func (o *operator) other(now, used []int) int {
	var others, fresh []int
	for n := range o.stage.nodes.Addrs() {
		switch {
		case !slices.Contains(used, n):
			fresh = append(fresh, n)
		case !slices.Contains(now, n):
			others = append(others, n)
		}
	}
	if len(fresh) > 0 {
		others = fresh
	}
	return others[o.drawn.IntN(len(others))]
}

// change makes next the nodes of the set, by adding or removing one node. -1 means none.
func (o *operator) change(ctx context.Context, next []int, add, remove int) (err error) {
	before := o.members.listed()
	o.members.change(next)
	sp := span{Name: fmt.Sprintf("resized to %d nodes", len(next)), From: now()}
	defer func() {
		sp.To = now()
		o.resizes = append(o.resizes, sp)
		if err != nil {
			err = fmt.Errorf("%s: %w", sp.Name, err)
		}
	}()
	kill := o.drawn.IntN(8) // it prints about five lines, so about half of the resizes are killed
	ways := o.drawn.Perm(ClientCount)
	var roll sync.WaitGroup
	var rolled error
	asked := sync.OnceFunc(func() { roll.Go(func() { rolled = o.roll(ways) }) })
	for lines := 0; ; {
		err = o.resize(ctx, before, add, remove, func(text string, killed func()) {
			o.note(text)
			if strings.HasPrefix(text, "Give all programs the new list") {
				asked()
			}
			if lines++; lines == kill {
				killed()
			}
		})
		if err == nil || ctx.Err() != nil || errors.Is(err, nodeset.ErrConfig) {
			break
		}
		o.note(err.Error())
		rest(ctx, Settling/4)
	}
	roll.Wait()
	if err == nil && rolled == nil {
		o.members.told() // the resize did not ask for it if no client was connected
		o.members.changed()
	}
	return errors.Join(err, rolled)
}

// resize runs a resize until it has ended or say kills it.
func (o *operator) resize(ctx context.Context, before []int, add, remove int, say func(text string, kill func())) error {
	ctx, kill := context.WithCancel(ctx)
	defer kill()
	addrs := o.stage.nodes.Addrs()
	var addURL, removeName string
	if add >= 0 {
		addURL = "redis://" + addrs[add]
	} else {
		removeName = addrs[remove]
	}
	tool, err := nodeset.NewResize(o.config(before), addURL, removeName, func(format string, args ...any) { say(fmt.Sprintf(format, args...), kill) })
	if err != nil {
		return err
	}
	defer tool.Close()
	return tool.Run(ctx)
}

// config returns the configuration of a process on links of its own.
func (o *operator) config(nodes []int) nodeset.Config {
	cfg := nodeset.Config{MaxTTL: o.tempo.MaxTTL, NodeTimeout: o.tempo.NodeTimeout, Logger: slog.New(slog.DiscardHandler)}
	for _, n := range nodes {
		cfg.URLs = append(cfg.URLs, "redis://"+o.stage.nodes.Addrs()[n])
	}
	return cfg
}

// note adds a line to the logs.
func (o *operator) note(text string) {
	fmt.Fprintf(&o.log, "%s %s\n", time.Now().Format(time.StampMilli), text)
}

// restarts are the ways to restart the client in a slot.
var restarts = []func(w *crowd, slot int) error{
	func(w *crowd, slot int) error {
		if err := w.leave(w.in(slot), nodeTimeout); err != nil {
			return err
		}
		return w.spawn(slot)
	},
	func(w *crowd, slot int) error { // the new process starts first
		old := w.in(slot)
		return errors.Join(w.spawn(slot), w.leave(old, nodeTimeout))
	},
	func(w *crowd, slot int) error {
		if err := w.kill(slot); err != nil {
			return err
		}
		return w.spawn(slot)
	},
}

// roll restarts all clients with the new list, one after another, in the given ways.
func (o *operator) roll(ways []int) error {
	w := o.stage.crowd
	w.restarting.Lock() // a fault may be about to start a client with the old list
	o.members.told()
	w.restarting.Unlock()
	for slot, way := range ways {
		w.restarting.Lock()
		err := restarts[way%len(restarts)](w, slot)
		w.restarting.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
