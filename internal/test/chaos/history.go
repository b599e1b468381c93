//go:build unix

package chaos

import (
	"fmt"
	"slices"
	"time"
)

// attempt is one attempt of a client to acquire a key, and its result. All times are from the function now.
type attempt struct {
	Client   int    `json:"client"` // number of the process, unique even if it replaces a killed one
	Worker   int    `json:"worker"`
	Op       int    `json:"op"`
	Way      string `json:"way"` // "WithLock", "TryLock", "lease", "campaign" or lastLap
	Key      string `json:"key"`
	Call     int64  `json:"call"`
	Acquired int64  `json:"acquired,omitempty"` // 0: not acquired
	Token    int64  `json:"token,omitempty"`
	Until    int64  `json:"until,omitempty"`  // until when the client believed to hold the key
	Return   int64  `json:"return,omitempty"` // 0: the process was killed first
	Lost     bool   `json:"lost,omitempty"`   // the context ended because the key was lost
	Err      string `json:"err,omitempty"`
	Odd      bool   `json:"odd,omitempty"`      // an error that no fault explains
	TimedOut bool   `json:"timedOut,omitempty"` // the error is a time-out

	Reads bool `json:"reads,omitempty"` // to read, with lock.Shared
	Limit int  `json:"limit,omitempty"` // of lock.Limit; 0: none
	Slot  int  `json:"slot,omitempty"`  // valid if there is a limit

	Saw    int64 `json:"saw,omitempty"`    // version that a reader saw first
	Again  int64 `json:"again,omitempty"`  // version that it saw at the end
	Reread int64 `json:"reread,omitempty"` // when it had seen the latter; 0: it did not look again

	Candidate string `json:"candidate,omitempty"` // of a campaign

	Resumed bool    `json:"resumed,omitempty"` // the attempt read the last checkpoint, which is Found
	Found   version `json:"found,omitzero"`
}

// place returns what at most one writer may hold at a time: the key, or the slot of a key with a limit. The store knows
// slots by the names that package fence gives them.
func (a attempt) place() string {
	if a.Limit == 0 {
		return a.Key
	}
	return fmt.Sprintf("%s#%d", a.Key, a.Slot)
}

// excludes reports whether two attempts of one key must not hold it at the same time.
func (a attempt) excludes(o attempt) bool {
	bothRead := a.Reads && o.Reads
	otherSlots := a.Limit > 0 && o.Limit > 0 && a.Slot != o.Slot
	return !bothRead && !otherSlots
}

// version names a checkpoint: the N-th of the lease with this token. The zero version means no checkpoint.
type version struct {
	Token int64 `json:"token"`
	N     int64 `json:"n"`
}

func (v version) before(o version) bool {
	return v.Token < o.Token || v.Token == o.Token && v.N < o.N
}

// deposit is the writing or the deletion of a checkpoint.
type deposit struct {
	version
	Client  int    `json:"client"`
	Key     string `json:"key"`
	Cleared bool   `json:"cleared,omitempty"`
	Call    int64  `json:"call"`
	Kept    bool   `json:"kept,omitempty"` // the write was acknowledged
}

// watch records an observer of the election.
type watch struct {
	Client int   `json:"client"`
	From   int64 `json:"from"`
	To     int64 `json:"to"`
}

// sighting is a leader that an observer was notified of, or that a query returned. Token is 0 if there is no leader.
type sighting struct {
	Client    int    `json:"client"`
	Candidate string `json:"candidate,omitempty"`
	Token     int64  `json:"token,omitempty"`
	Asked     int64  `json:"asked,omitempty"` // 0: an observer was notified
	At        int64  `json:"at"`
}

// lastLap is the Way of the acquisitions that every client makes after the faults, one for each key.
const lastLap = "last lap"

// access is one request to the store. Accesses are in the order in which the store decided them.
type access struct {
	At       int64  `json:"at"`
	Client   int    `json:"client"`
	Key      string `json:"key"`
	Token    int64  `json:"token"`
	Reads    bool   `json:"reads,omitempty"` // the token is that of a reader
	Write    bool   `json:"write,omitempty"`
	Base     int64  `json:"base,omitempty"`    // of a write: the version that was read before it
	Version  int64  `json:"version,omitempty"` // after the access
	Accepted bool   `json:"accepted"`
}

// stall is a time in which a client did not run.
type stall struct {
	Client int   `json:"client"`
	From   int64 `json:"from"`
	To     int64 `json:"to"`
	Halted bool  `json:"halted,omitempty"` // by a fault
}

// span is a time in which a fault lasted.
type span struct {
	Name  string `json:"name"`
	From  int64  `json:"from"`
	To    int64  `json:"to"`
	Nodes []int  `json:"nodes,omitempty"` // the affected nodes
	// Forgets are the nodes that may have lost data.
	Forgets []int `json:"forgets,omitempty"`
	Outage  bool  `json:"outage,omitempty"` // no quorum of nodes was left
}

type history struct {
	Scenario string    `json:"scenario"`
	Seed     uint64    `json:"seed"`
	Unseen   int64     `json:"unseen,omitempty"` // not 0: nodes lost data without a restart, and exclusion is not promised for this long afterwards
	TTL      int64     `json:"ttl"`
	Fragile  int       `json:"fragile"` // number of nodes whose loss of data may lose checkpoints
	Start    int64     `json:"start"`
	End      int64     `json:"end"`
	Attempts []attempt `json:"attempts"`
	Accesses []access  `json:"accesses"`
	Stalls   []stall   `json:"stalls"`
	Faults   []span    `json:"faults"`
	Resizes  []span    `json:"resizes,omitempty"` // each by one node

	Deposits  []deposit  `json:"deposits"`
	Watches   []watch    `json:"watches"`
	Sightings []sighting `json:"sightings"`

	Paces []pace `json:"paces"`
	Trips []trip `json:"trips"`
}

// grace is how long a client may take to notice what it missed while it did not run.
const grace = int64(25 * time.Millisecond)

// stalledIn reports whether a client may at some time between two moments not have known the latest events, because it
// did not run.
func (h *history) stalledIn(client int, from, to int64) bool {
	return slices.ContainsFunc(h.Stalls, func(s stall) bool {
		return s.Client == client && s.From <= to && from <= s.To+grace
	})
}

// letGo reports whether exclusion is not promised for a, because a node lost its data unnoticed while a held the key,
// or so shortly before that another client may still have held it.
func (h *history) letGo(a attempt) bool {
	if h.Unseen == 0 {
		return false
	}
	for _, f := range h.Faults {
		if a.Acquired <= f.To+h.Unseen && f.From <= a.Until {
			return true
		}
	}
	return false
}

// emptied reports whether a node lost its data unnoticed between two moments. For an attempt that was in flight then,
// callers pass its start, so tokens issued before and after may be out of order.
func (h *history) emptied(from, to int64) bool {
	return h.Unseen != 0 && slices.ContainsFunc(h.Faults, func(f span) bool {
		return len(f.Forgets) > 0 && f.From <= to && from <= f.To
	})
}

// held returns the attempts that were acquired, by key.
func (h *history) held() map[string][]attempt {
	return h.heldBy(func(a attempt) string { return a.Key })
}

// heldBy returns the attempts that were acquired, by what name returns.
func (h *history) heldBy(name func(attempt) string) map[string][]attempt {
	by := map[string][]attempt{}
	for _, a := range h.Attempts {
		if a.Acquired != 0 {
			by[name(a)] = append(by[name(a)], a)
		}
	}
	return by
}

// eachBeside calls see for each attempt in held, in the order in which they began to hold, with those that still
// believed to hold when it began.
func eachBeside(held []attempt, see func(a attempt, others []attempt)) {
	sortBy(held, func(a attempt) int64 { return a.Acquired })
	var others []attempt
	for _, a := range held {
		others = slices.DeleteFunc(others, func(o attempt) bool { return o.Until <= a.Acquired })
		see(a, others)
		others = append(others, a)
	}
}
