package quorumlock

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// Slot is how a slot of a key with a limit stands, as the nodes said.
type Slot struct {
	Number int
	Holder Holder        // whom the most nodes name
	Votes  int           // how many nodes name it; votes of nodes that do not vote at present are not counted
	Token  int64         // the newest token that the holder can have; 0: not known
	Left   time.Duration // until it expires on the node that keeps it longest
	value  string
}

// slotView is what one node says of one slot.
type slotView struct {
	number int
	told   int64
	value  string
	left   time.Duration
	votes  bool
}

// inspectSlots fills in the slots of the keys that have a limit.
func (r *Redlock) inspectSlots(ctx context.Context, all []Inspection) error {
	for k := range all {
		i := &all[k]
		if i.Limit = limitOf(i.value); i.Limit == 0 {
			continue
		}
		views, err := r.viewSlots(ctx, i.Key)
		if err != nil {
			return err
		}
		i.Slots = slotsOf(views, i.Limit, i.Need)
	}
	return nil
}

// viewSlots is what all nodes say of the slots of a key.
func (r *Redlock) viewSlots(ctx context.Context, key string) ([]slotView, error) {
	nodes := r.c.Nodes()
	v := &slotViewer{open: len(nodes), done: make(chan struct{})}
	for _, n := range nodes {
		n.Run(limitViewScript, limitNames(r.LockKey(key)), nil, v)
	}
	select {
	case <-v.done:
		return v.all, nil
	case <-ctx.Done():
		return nil, errs.Errorf("redlock: inspect %q: %w", key, errs.Ended(ctx))
	}
}

// slotViewer takes in the answers. A node that does not give one says nothing of
// the slots, as it may have lost them.
type slotViewer struct {
	mu   sync.Mutex
	all  []slotView
	open int
	done chan struct{}
}

func (v *slotViewer) Receive(n *nodeset.Node, reply any, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if words, ok := reply.([]any); ok && err == nil {
		for _, one := range readSlots(words) {
			one.votes = n.Votes()
			v.all = append(v.all, one)
		}
	}
	if v.open--; v.open == 0 {
		close(v.done)
	}
}

func readSlots(words []any) (all []slotView) {
	for i := 0; i+2 < len(words); i += 3 {
		number, ok1 := words[i].(int64)
		entry, ok2 := words[i+1].(string)
		left, ok3 := words[i+2].(int64)
		told, value, _ := strings.Cut(entry, " ")
		fence, err := strconv.ParseInt(told, 10, 64)
		if ok1 && ok2 && ok3 && err == nil && number >= 0 && number < MaxLimit {
			all = append(all, slotView{int(number), fence, value, timeLeft(max(left, 0)), false})
		}
	}
	return all
}

// slotsOf is what the views come to, by number.
func slotsOf(views []slotView, limit, need int) (all []Slot) {
	slices.SortStableFunc(views, func(a, b slotView) int { return cmp.Compare(a.number, b.number) })
	for len(views) > 0 {
		number := views[0].number
		n := 1
		for n < len(views) && views[n].number == number {
			n++
		}
		all = append(all, slotOf(views[:n], limit, need))
		views = views[n:]
	}
	return all
}

// slotOf is what the views of one slot come to.
func slotOf(views []slotView, limit, need int) Slot {
	s := Slot{Number: views[0].number}
	most := 0
	for _, one := range views {
		named, votes, told := 0, 0, map[int64]int{}
		var token int64
		for _, other := range views {
			if other.value != one.value {
				continue
			}
			named++
			if other.votes {
				votes++
			}
			if told[other.told]++; told[other.told] >= need {
				token = (&limited{n: limit, slot: s.Number}).last(other.told)
			}
		}
		if named > most {
			most = named
			s.value, s.Holder, s.Votes, s.Token = one.value, readValue(one.value), votes, token
		}
		s.Left = max(s.Left, one.left)
	}
	if s.Holder.Writer != WriterRedlock {
		s.Token = 0
	}
	return s
}

// forceSlots is force for each slot that was seen, also after one that failed,
// until ctx ends. An error that several slots have is returned once. It fails with
// ErrNotHeld if none of them was taken.
func (r *Redlock) forceSlots(ctx context.Context, seen Inspection, one func(Slot) (time.Duration, error)) (freeIn time.Duration, err error) {
	taken, failures, texts := false, []error(nil), map[string]bool{}
	for _, s := range seen.Slots {
		if err := errs.Ended(ctx); err != nil {
			failures = append(failures, errs.Errorf("redlock: force the release of %q: slot %d and those after it: %w", seen.Key, s.Number, err))
			break
		}
		left, err := one(s)
		taken, freeIn = taken || err == nil, max(freeIn, left)
		if err != nil && !errors.Is(err, ErrNotHeld) && !texts[err.Error()] {
			texts[err.Error()] = true
			failures = append(failures, err)
		}
	}
	switch {
	case len(failures) > 0:
		return freeIn, errors.Join(failures...)
	case !taken:
		return 0, errs.Errorf("redlock: force the release of %q: %w", seen.Key, ErrNotHeld)
	}
	return freeIn, nil
}

// seizeSlot is ForceRelease for one slot.
func (r *Redlock) seizeSlot(ctx context.Context, seen Inspection, s Slot, mark string) (time.Duration, error) {
	l, keys := &limited{n: seen.Limit}, limitNames(r.LockKey(seen.Key))
	seize := func(block time.Duration) func(*nodeset.Node, nodeset.Receiver) {
		return func(n *nodeset.Node, to nodeset.Receiver) {
			n.Run(limitSeizeScript, keys, []any{s.value, l.marker(), s.Number, mark, millis(block), forcedTag, l.n}, to)
		}
	}
	return r.seize(ctx, seen, seize)
}

// releaseSlot is ForceReleaseNow for one slot.
func (r *Redlock) releaseSlot(ctx context.Context, seen Inspection, s Slot) error {
	l, lock := &limited{n: seen.Limit}, r.LockKey(seen.Key)
	f, err := r.force(ctx, seen, nil, func(n *nodeset.Node, to nodeset.Receiver) {
		n.Run(limitReleaseScript, limitNames(lock), []any{s.value, l.marker(), strconv.Itoa(s.Number), millis(r.cfg.HandOver), 0, "", oneIf(n.Sharded())}, to)
	})
	if err == nil && f.open(r.c) >= r.c.Quorum() {
		return errs.Errorf("redlock: force the release of %q: %w", seen.Key, ErrMayBeAcquired)
	}
	return err
}
