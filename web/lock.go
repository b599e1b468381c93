package web

import (
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/present"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/lock"
)

// lockEvents is how many events the page of one lock shows.
const lockEvents = 20

// lockDoc is the page of one lock.
type lockDoc struct {
	frame
	lockRow
	Waiters    []waiterDoc    `json:"waiters"`    // the first of them, in order
	Checkpoint *checkpointRow `json:"checkpoint"` // null: there is none, or it is not known
	Seen       string         `json:"seen"`       // names what was seen, for a release by force
	Events     []event        `json:"events"`
	Mine       bool           `json:"may_release"` // this request may release it by force

	person string // in whose name it would be released, if Mine
}

type waiterDoc struct {
	Process string     `json:"process"`
	Since   *time.Time `json:"since,omitempty"`
	now     time.Time
}

// For is for how long the process has waited.
func (w waiterDoc) For() string {
	if w.Since == nil {
		return "–"
	}
	return ago(*w.Since, w.now)
}

// keyOf is the key that a request is about, which is in its address.
func keyOf(query url.Values) (string, error) {
	key := query.Get("key")
	switch {
	case key == "":
		return "", bad("key: is missing in the address; name a lock, as in ?key=order:42")
	case len(key) > quorumlock.MaxKeyLen:
		return "", bad("key: %d bytes; at most %d", len(key), quorumlock.MaxKeyLen)
	}
	return key, nil
}

// lockPage shows one lock node by node.
func (h *Handler) lockPage(v visit) (document, error) {
	key, err := keyOf(v.query)
	if err != nil {
		return nil, err
	}
	h.survey.demand.touch()
	l := h.details.of(v.ctx, key)
	p := h.survey.fresh(v.ctx, func(p *picture) []time.Time { return []time.Time{p.nodes.due} })
	now := time.Now()
	d := &lockDoc{frame: h.frame(p, now), Events: h.survey.journal.of(func(e event) bool { return e.Key == key }, lockEvents),
		Waiters: []waiterDoc{}}
	i, at, err := h.inspected(p, key, l)
	if errors.Is(err, cluster.ErrConfig) {
		return nil, bad("%v", err)
	}
	if err != nil {
		d.missing("Partial: " + present.Error(err) + ".")
	}
	d.asOf(at)
	e := entryOf(i)
	d.lockRow = rowOf(&e, p.held, now, lock.MaxLimit)
	d.Key, d.Seen = key, seenOf(i)
	for _, w := range i.Waiters {
		doc := waiterDoc{Process: w.Process, now: now}
		if !w.Since.IsZero() {
			doc.Since = &w.Since
		}
		d.Waiters = append(d.Waiters, doc)
	}
	if l != nil && l.checkpoint != nil && ownRecord(key) {
		d.Checkpoint = p.checkpoints.value.of(*l.checkpoint, now)
	}
	d.person, d.Mine = v.authorize()
	return d, nil
}

// ownRecord reports whether what is kept beside a key is a checkpoint. Elections
// and jobs keep something else there.
func ownRecord(key string) bool {
	return !strings.HasPrefix(key, electionPrefix) && !strings.HasPrefix(key, jobPrefix)
}

var errNoAnswer = errors.New("the nodes have not answered yet")

// inspected is the newest that is known of a lock: what was asked for its page,
// or else what the last listing said.
func (h *Handler) inspected(p picture, key string, l *look) (lock.Inspection, time.Time, error) {
	if l != nil && len(l.lock.Views) > 0 || l != nil && l.err != nil {
		return l.lock, l.at, l.err
	}
	for n := range p.locks.value {
		if i := &p.locks.value[n]; i.Key == key {
			return i.Inspection, p.locks.at, p.locks.err
		}
	}
	return lock.Inspection{Key: key, State: lock.Unknown}, time.Time{}, errNoAnswer
}

// Standing is the state of the lock in a sentence, which ends before the holder.
func (d *lockDoc) Standing() string {
	switch d.State {
	case lock.Free.String():
		return "Free"
	case lock.Held.String():
		switch d.mode {
		case lock.ModeShared:
			return "Shared"
		case lock.ModeDetached:
			return "Detached"
		case lock.ModeRetained:
			return "Retained"
		}
		return "Held"
	case "taken":
		if d.Limit > 0 {
			return "Taken away from its holders; each slot is free when its holder's TTL is over"
		}
		return "Taken away from its holder, and kept until that holder's TTL is over"
	case lock.Partial.String():
		return "Changing hands: fewer nodes than a quorum have it"
	}
	return "Unknown: too few nodes answered"
}

// By joins Standing and the holder; "" if Standing is about no holder.
func (d *lockDoc) By() string {
	switch {
	case d.State != lock.Held.String():
		return ""
	case d.Limit > 0:
		return "in"
	}
	return "by"
}

// Meaning is what a mode means for those who wait, "" if it is plain.
func (d *lockDoc) Meaning() string {
	switch {
	case d.mode == lock.ModeDetached:
		return "Nobody works under it. It is kept for the process that attaches it."
	case d.mode == lock.ModeRetained:
		return "Nobody works under it. Its process keeps it for its next caller, and releases it when another process asks."
	case d.State == "taken" && d.Limit > 0:
		return "Its former holders may work until their TTLs are over, and notice at their next renewals. Slots that are free can be acquired."
	case d.State == "taken":
		return "Its former holder may work until its TTL is over, and notices at its next renewal."
	case d.mode == lock.ModeExclusive && d.holder.MayRetain:
		return "Its process may retain it after a release; nodes do not know whether it does."
	}
	return ""
}

// IsHeld reports whether the lock has a holder, or may have one.
func (d *lockDoc) IsHeld() bool { return d.Holder != nil }

// ReleaseLink is where the form is sent. The key is in the address: in a
// field a browser would change newlines, and bytes that are not UTF-8.
func (d *lockDoc) ReleaseLink() string { return "release?" + keyQuery(d.Key) }

// MayRelease reports whether the page has a form that releases the lock.
func (d *lockDoc) MayRelease() bool { return d.Mine && d.IsHeld() }

// More is how many processes wait that are not named.
func (d *lockDoc) More() int { return max(d.Waiting-len(d.Waiters), 0) }

// FreeIn is when others can acquire the lock after a release by force: the
// holder may renew it until then.
func (d *lockDoc) FreeIn() string {
	if d.left < 0 {
		return "In the longest TTL of the set"
	}
	return "In about " + span(max(d.term, d.left))
}

// Person is the person in whose name a release would be.
func (d *lockDoc) Person() string { return d.person }

// Typed is what has to be typed to confirm: the key as it is shown.
func (d *lockDoc) Typed() string { return present.Line(d.Key) }

// Commands are the command lines for the same.
func (d *lockDoc) Commands() []string {
	key := quoted(d.Key)
	if d.Key[0] == '-' {
		key = "-- " + key
	}
	return []string{"redlock inspect " + key, "redlock ls " + key, "redlock release --force " + key}
}
