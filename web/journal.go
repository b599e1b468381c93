package web

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/present"
	"github.com/venta-hq/redlock/lock"
)

// maxEvents is how many events are kept.
const maxEvents = 2000

// event is something that this process saw: a difference between two
// listings, or a release by force through these pages.
type event struct {
	At   time.Time `json:"at"`
	Key  string    `json:"key,omitempty"`
	Node string    `json:"node,omitempty"`
	Kind string    `json:"kind"`
	Text string    `json:"text"`
}

// The kinds of events.
const (
	acquired  = "acquired"
	passed    = "passed on"
	released  = "released"
	unrenewed = "not renewed"
	gone      = "gone" // released or expired
	taken     = "taken away"
	free      = "free" // after it was taken away
	forced    = "forced"
	nodeDown  = "down"
	nodeUp    = "up"
)

// Time is the time of day of an event.
func (e event) Time() string { return e.At.Format(time.TimeOnly) }

// journal keeps the newest events. What happens between two listings and is
// undone by the second is not seen.
type journal struct {
	mu  sync.Mutex
	all []event
}

func newJournal() *journal { return &journal{} }

func (j *journal) add(events ...event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.all = append(j.all, events...)
	if over := len(j.all) - maxEvents; over > 0 {
		j.all = slices.Delete(j.all, 0, over)
	}
}

// of is the events that match, the newest first, n at most.
func (j *journal) of(match func(event) bool, n int) []event {
	j.mu.Lock()
	defer j.mu.Unlock()
	found := []event{}
	for _, e := range slices.Backward(j.all) {
		if len(found) == n {
			break
		}
		if match(e) {
			found = append(found, e)
		}
	}
	return found
}

// locks notes what a listing, which began and ended at these times, shows to have
// changed, and returns the holds by key. Before is those of the last listing; nil:
// there was none. The voters are the nodes that voted when the listing had ended.
func (j *journal) locks(before map[string]sighting, locks []lock.Inspection, began, ended time.Time, voters map[string]bool) map[string]sighting {
	held, left := make(map[string]sighting, len(locks)), maps.Clone(before)
	var events []event
	for _, i := range locks {
		was, known := before[i.Key]
		delete(left, i.Key)
		if i.State != lock.Held { // it changes hands, or too few nodes answered
			if known {
				held[i.Key] = was
			}
			continue
		}
		held[i.Key] = sightingOf(i, was, began)
		if e, ok := change(was, known, i, ended, voters); ok {
			e.At, e.Key = ended, i.Key
			events = append(events, e)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(left)) {
		e := left[key].end(ended, voters)
		e.At, e.Key = ended, key
		events = append(events, e)
	}
	if before != nil {
		j.add(events...)
	}
	return held
}

// change is what happened to a lock that is held.
func change(was sighting, known bool, is lock.Inspection, now time.Time, voters map[string]bool) (event, bool) {
	switch {
	case known && was.Holder == is.Holder:
		return event{}, false
	case is.Holder.Writer == lock.WriterForced:
		return event{Kind: taken, Text: "by force from its holder"}, true
	case known && was.Holder.Writer != lock.WriterForced:
		if e := was.end(now, voters); e.Kind == unrenewed {
			e.Text += "; acquired by " + is.Holder.String()
			return e, true
		}
		return event{Kind: passed, Text: fmt.Sprintf("from %s to %s", was.Holder, is.Holder)}, true
	}
	return event{Kind: acquired, Text: "by " + is.Holder.String()}, true
}

// nodes notes which nodes went down or recovered.
func (j *journal) nodes(before, after []cluster.Report, now time.Time) {
	if len(before) != len(after) {
		return // the first look
	}
	for i, n := range after {
		switch {
		case before[i].Up && !n.Up:
			j.add(event{At: now, Node: n.Node, Kind: nodeDown, Text: present.Error(n.Err)})
		case !before[i].Up && n.Up:
			j.add(event{At: now, Node: n.Node, Kind: nodeUp, Text: "answers again"})
		}
	}
}
