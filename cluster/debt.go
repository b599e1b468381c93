package cluster

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// debt is a command that has to take effect on the node once it can, up to a
// moment after which it is pointless.
type debt struct {
	cmd      Command
	until    time.Time
	reminded bool // it was refused, and is sent again
}

// maxDebts bounds what is kept for a node that is down, and what is kept for one
// that refuses it; above it the oldest go, and their keys live to their TTL.
const maxDebts = 1 << 16

// Owe sends cmd now or, when the node cannot be reached, as soon as it is back,
// unless that is after until (zero: however late). A node that answers, but with
// an error or with anything else than a number, is sent cmd again until that
// time too (zero: for Config.MaxTTL): a server that takes no writes at present
// refuses them on a connection that works. Only a key of the wrong type is
// final. The script must reply with a number, and may be executed more than
// once. Used for releases, so that a key does not live to its TTL on a node that
// was away.
func (n *Node) Owe(cmd Command, until time.Time) { n.owe(debt{cmd: cmd, until: until}) }

func (n *Node) owe(o debt) {
	n.mu.Lock()
	if n.down.Load() != nil {
		n.debts = append(withRoom(n.debts), o)
		n.mu.Unlock()
		return
	}
	n.mu.Unlock()
	n.settle(call{Command: o.cmd}, o)
}

// withRoom is debts with room for one more.
func withRoom(debts []debt) []debt {
	if len(debts) >= maxDebts {
		return debts[1:]
	}
	return debts
}

func (n *Node) settle(cl call, o debt) {
	if o.over(time.Now()) {
		return
	}
	cl.receiver, cl.owed = o, true
	n.send(cl)
}

func (o *debt) over(now time.Time) bool { return !o.until.IsZero() && !now.Before(o.until) }

// Receive keeps the debt when the node went away again, even if it is back by
// now, and when it refused.
func (o debt) Receive(n *Node, reply any, err error) {
	_, number := reply.(int64)
	switch {
	case errors.Is(err, ErrClosed), err == nil && number, otherType(err):
		if o.reminded {
			n.mu.Lock()
			n.refused.settled++
			n.mu.Unlock()
		}
	case lost(err), Unsent(err):
		n.owe(o)
	default:
		n.remind(o)
	}
}

// otherType reports whether err is the answer that a key has another type; a
// server may put more in front of it.
func otherType(err error) bool {
	return err != nil && answered(err) && strings.Contains(err.Error(), "WRONGTYPE")
}

// refusals are the debts that a node refused, the longest ago first.
type refusals struct {
	debts     []debt
	reminding bool // a goroutine sends them again

	refused, settled int // answers so far
}

// take takes out so many debts, and drops those whose time is over.
func (r *refusals) take(some int, now time.Time) []debt {
	r.debts = slices.DeleteFunc(r.debts, func(o debt) bool { return o.over(now) })
	due := r.debts[:min(some, len(r.debts))]
	r.debts = slices.Clone(r.debts[len(due):])
	return due
}

// remind sends a debt again later that the node refused.
func (n *Node) remind(o debt) {
	o.reminded = true
	if now := time.Now(); o.until.IsZero() {
		o.until = now.Add(n.c.cfg.MaxTTL)
	} else if o.over(now) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	r := &n.refused
	r.debts = append(withRoom(r.debts), o)
	r.refused++
	r.reminding = r.reminding || n.c.spawn(n.remindAll)
}

// reminders is how many refused debts are sent at a time to a node that refuses.
const reminders = 32

// remindAll sends what the node refused, a few at a time and ever more rarely
// until it takes some, and then ever more at a time.
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
			r.debts, r.reminding = nil, false
		}
		n.mu.Unlock()
		if len(due) == 0 {
			return
		}
		for _, o := range due {
			n.owe(o)
		}
	}
}
