package nodeset

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// pending is a command that has to take effect on the node once it can, up to a
// moment after which it is pointless: mostly a release.
type pending struct {
	cmd      Command
	until    time.Time
	reminded bool // it was refused, and is sent again
}

// maxPending bounds what is kept for a node that is down, and what is kept for one
// that refuses it; above it the oldest go, and their keys live to their TTL.
const maxPending = 1 << 16

// SendLater sends cmd now or, when the node cannot be reached, as soon as it
// can, unless that is after until (zero: however late). A node that answers,
// but with an error or with anything else than a number, is sent cmd again
// until that time too (zero: for Config.MaxTTL): a server that takes no writes
// at present refuses them on a connection that works. Only a key of the wrong
// type is final. The script must reply with a number, and may be executed more
// than once. Used for releases, so that a key does not live to its TTL on a
// node that was unreachable.
func (n *Node) SendLater(cmd Command, until time.Time) {
	n.keepPending(pending{cmd: cmd, until: until})
}

// keepPending sends o, or keeps it while the node is down.
func (n *Node) keepPending(o pending) {
	n.mu.Lock()
	if n.down.Load() != nil {
		n.pending = append(withRoom(n.pending), o)
		n.mu.Unlock()
		return
	}
	n.mu.Unlock()
	n.settle(call{Command: o.cmd}, o)
}

// withRoom makes room for one more.
func withRoom(all []pending) []pending {
	if len(all) >= maxPending {
		return all[1:]
	}
	return all
}

func (n *Node) settle(cl call, o pending) {
	if o.over(time.Now()) {
		return
	}
	cl.receiver, cl.owed = o, true
	n.send(cl)
}

func (o *pending) over(now time.Time) bool { return !o.until.IsZero() && !now.Before(o.until) }

// Receive keeps the command pending if the node failed again, even if it has
// recovered since, and if it refused.
func (o pending) Receive(n *Node, reply any, err error) {
	_, number := reply.(int64)
	switch {
	case errors.Is(err, ErrClosed), err == nil && number, otherType(err):
		if o.reminded {
			n.mu.Lock()
			n.refused.settled++
			n.mu.Unlock()
		}
	case lost(err), Unsent(err):
		n.keepPending(o)
	default:
		n.remind(o)
	}
}

// otherType reports whether err is the answer that a key has another type; a
// server may put more in front of it.
func otherType(err error) bool {
	return err != nil && answered(err) && strings.Contains(err.Error(), "WRONGTYPE")
}

// refusals are the pending commands that a node refused, the longest ago first.
type refusals struct {
	pending   []pending
	reminding bool // a goroutine sends them again

	refused, settled int // answers so far
}

// take removes and returns up to n pending commands, and drops those whose time
// is over.
func (r *refusals) take(some int, now time.Time) []pending {
	r.pending = slices.DeleteFunc(r.pending, func(o pending) bool { return o.over(now) })
	due := r.pending[:min(some, len(r.pending))]
	r.pending = slices.Clone(r.pending[len(due):])
	return due
}

// remind sends a pending command again later that the node refused.
func (n *Node) remind(o pending) {
	o.reminded = true
	if now := time.Now(); o.until.IsZero() {
		o.until = now.Add(n.c.cfg.MaxTTL)
	} else if o.over(now) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	r := &n.refused
	r.pending = append(withRoom(r.pending), o)
	r.refused++
	r.reminding = r.reminding || n.c.spawn(n.remindAll)
}

// reminders is how many refused pending commands are sent at a time to a node that refuses.
const reminders = 32

// remindAll sends the commands that the node refused: a few at a time and ever
// more rarely until it accepts some, and then ever more at a time.
func (n *Node) remindAll() {
	pace, some := newPace(), reminders
	var before refusals
	for n.c.pause(pace.NextBackOff()) {
		n.mu.Lock()
		r := &n.refused
		switch {
		case r.refused > before.refused:
			some = reminders
		case r.settled > before.settled:
			some *= 2
			pace.Reset()
		}
		before = *r
		due := r.take(some, time.Now())
		if len(due) == 0 {
			r.pending, r.reminding = nil, false
		}
		n.mu.Unlock()
		if len(due) == 0 {
			return
		}
		for _, o := range due {
			n.keepPending(o)
		}
	}
}
