package web

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/present"
	"github.com/venta-hq/redlock/lock"
)

// modes are those that the list can be filtered by, in the order of the form.
var modes = []lock.Mode{lock.ModeExclusive, lock.ModeShared, lock.ModeLimit, lock.ModeDetached, lock.ModeForced, lock.ModeRetained}

// Modes are those that the form offers: retained keys are known to the process
// that retains them, and shown by the pages that it serves.
func (d *locksDoc) Modes() []lock.Mode {
	return slices.DeleteFunc(slices.Clone(modes), func(m lock.Mode) bool {
		return m == lock.ModeRetained && !d.retains && d.Filter.Mode != m
	})
}

// listedParts is how many of those that hold a lock together a list names: a page
// of a hundred locks could have a hundred thousand.
const listedParts = 5

// holders are those that hold a lock together.
type holders struct {
	Limit   int         `json:"limit,omitempty"`         // how many can hold it at once
	Taken   int         `json:"slots_total,omitempty"`   // how many slots are taken
	Slots   []slotDoc   `json:"slots,omitempty"`         // the first of them
	Reading int         `json:"readers_total,omitempty"` // how many readers are known
	Readers []readerDoc `json:"readers,omitempty"`       // the first of them
	Others  bool        `json:"more_readers,omitempty"`  // there may be more than are known

	labels string
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

func holdersOf(i *entry, now time.Time, parts int) holders {
	all := holders{Limit: i.Limit, Taken: len(i.Slots), Reading: len(i.Readers), Others: i.MoreReaders, labels: labelsOf(i)}
	for _, s := range i.Slots[:min(parts, len(i.Slots))] {
		all.Slots = append(all.Slots, slotDoc{s.Number, holderOf(s.Holder), s.Token, leftMs(s.Left), s.Votes, partOf(s.Holder, s.Left, now)})
	}
	for _, r := range i.Readers[:min(parts, len(i.Readers))] {
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

// Badge is a word for a slot that is not plainly held.
func (p partDoc) Badge() string {
	if p.holder.Writer == lock.WriterForced {
		return "taken away"
	}
	return ""
}

// Several reports whether more than one can hold the lock as it is held.
func (all holders) Several() bool { return all.Limit > 0 || all.Reading > 0 }

// count is how many hold the lock.
func (all holders) count() string {
	if all.Limit > 0 {
		return fmt.Sprintf("%d of %d slots", all.Taken, all.Limit)
	}
	text := present.Plural(all.Reading, "reader", "readers")
	if all.Others {
		return "at least " + text
	}
	return text
}

// labelsOf are the labels of those that hold the lock together, each once: the
// first listedParts of them.
func labelsOf(i *entry) string {
	var labels []string
	seen := map[string]bool{}
	add := func(h lock.Holder) (more bool) {
		label := who(h)
		if seen[label] {
			return true
		}
		if len(labels) == listedParts {
			labels = append(labels, "…")
			return false
		}
		seen[label] = true
		labels = append(labels, label)
		return true
	}
	for _, s := range i.Slots {
		if !add(s.Holder) {
			break
		}
	}
	for _, r := range i.Readers {
		if !add(r.Holder) {
			break
		}
	}
	return strings.Join(labels, ", ")
}
