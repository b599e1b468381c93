package web

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/present"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/lock"
)

// modes are those that the list can be filtered by, in the order of the form.
var modes = []quorumlock.Mode{quorumlock.ModeExclusive, quorumlock.ModeShared, quorumlock.ModeLimit, quorumlock.ModeDetached, quorumlock.ModeForced, quorumlock.ModeRetained}

// Modes are those that the form offers: retained keys are known to the process
// that retains them, and shown by the pages that it serves.
func (d *locksDoc) Modes() []quorumlock.Mode {
	return slices.DeleteFunc(slices.Clone(modes), func(m quorumlock.Mode) bool {
		return m == quorumlock.ModeRetained && !d.retains && d.Filter.Mode != m
	})
}

// holders are those that hold a lock together.
type holders struct {
	Limit   int         `json:"limit,omitempty"` // how many can hold it at once
	Slots   []slotDoc   `json:"slots,omitempty"` // those that are taken
	Readers []readerDoc `json:"readers,omitempty"`
	Others  bool        `json:"more_readers,omitempty"` // there may be more of them
}

// slotDoc is a slot of a key with a limit.
type slotDoc struct {
	Slot   int        `json:"slot"`
	Holder *holderDoc `json:"holder"`
	Token  int64      `json:"token_at_most,omitempty"`
	LeftMs *float64   `json:"left_ms"`
	Votes  int        `json:"votes"`
	partDoc
}

// readerDoc is a process that shares a lock.
type readerDoc struct {
	Holder *holderDoc `json:"holder"`
	LeftMs *float64   `json:"left_ms"`
	partDoc
}

// partDoc is one of several holders of a lock, for the page.
type partDoc struct {
	holder    lock.Holder
	left, age string
}

func holdersOf(i lock.Inspection, now time.Time) holders {
	all := holders{Limit: i.Limit, Others: i.MoreReaders}
	for _, s := range i.Slots {
		all.Slots = append(all.Slots, slotDoc{s.Number, holderOf(s.Holder), s.Token, leftMs(s.Left), s.Votes, partOf(s.Holder, s.Left, now)})
	}
	for _, r := range i.Readers {
		all.Readers = append(all.Readers, readerDoc{holderOf(r.Holder), leftMs(r.Left), partOf(r.Holder, r.Left, now)})
	}
	return all
}

func partOf(h lock.Holder, left time.Duration, now time.Time) partDoc {
	p := partDoc{h, "never", "–"}
	if left >= 0 {
		p.left = span(left)
	}
	if !h.Since.IsZero() {
		p.age = ago(h.Since, now)
	}
	return p
}

// Who names the holder, with the place where it runs.
func (p partDoc) Who() string { return p.holder.String() }

// Left is when it expires if it is not renewed.
func (p partDoc) Left() string { return p.left }

// Age is for how long it has been held.
func (p partDoc) Age() string { return p.age }

// Number is that of the slot as people see it.
func (s slotDoc) Number() string { return strconv.Itoa(s.Slot) }

// Several reports whether more than one can hold the lock as it is held.
func (all holders) Several() bool { return all.Limit > 0 || len(all.Readers) > 0 }

// count is how many hold the lock.
func (all holders) count() string {
	if all.Limit > 0 {
		return fmt.Sprintf("%d of %d slots", len(all.Slots), all.Limit)
	}
	text := present.Plural(len(all.Readers), "reader", "readers")
	if all.Others {
		return "at least " + text
	}
	return text
}

// names are the labels of those that hold the lock, each once.
func (all holders) names() string {
	var names []string
	add := func(p partDoc) {
		if name := who(p.holder); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, s := range all.Slots {
		add(s.partDoc)
	}
	for _, r := range all.Readers {
		add(r.partDoc)
	}
	return strings.Join(names, ", ")
}
