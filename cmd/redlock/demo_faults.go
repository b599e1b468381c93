package main

import (
	"context"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
)

// injectFaults stops, freezes and restarts nodes, and has worker E sleep past
// its TTL, each at a set part of the duration.
func (m *demo) injectFaults(ctx context.Context) {
	at := func(part float64) bool { return m.until(ctx, part) }
	if m.nodes == nil {
		if at(0.15) {
			m.progress("", 0)
			m.sleepPastTTL(ctx)
		}
		if at(0.9) {
			m.progress("", 0)
		}
		return
	}
	if !at(0.10) {
		return
	}
	m.progress("", 0)
	m.say(fault, "fault", "node 2 is stopped: connections to it break. 4 of 5 nodes are left")
	before := m.store.count()
	m.nodes.Stop(1)
	if !at(0.22) {
		return
	}
	before = m.progress("with node 2 stopped", before)
	m.say(fault, "fault", "node 4 is frozen: it accepts commands and answers none. 3 of 5 are left, just enough")
	m.nodes.Pause(3)
	if !at(0.34) {
		return
	}
	m.progress("with node 2 stopped and node 4 frozen", before)
	m.say(fixed, "fixed", "node 4 thaws, and executes what it was sent in the meantime")
	m.nodes.Resume(3)
	m.say(fixed, "fixed", "node 2 is started again, empty: it has lost every lock that it granted")
	before = m.store.count()
	if err := m.nodes.Restart(1, true); err != nil {
		m.unexpected = append(m.unexpected, err.Error())
	}
	if !at(0.5) {
		return
	}
	m.progress("since", before)
	m.sleepPastTTL(ctx)
	before = m.store.count()
	if at(0.97) {
		m.progress("since", before)
	}
}

// sleep is the outcome of sleepPastTTL.
type sleep struct {
	token   int64
	err     error // the store's answer to the late write
	wrote   bool
	account error // what WithLock returned
}

// sleepPastTTL makes worker E acquire the lock, sleep past its TTL, and then
// write, like a process that the system has stopped. A process cannot stop
// itself and report on it, but ending the renewals by MaxHold and ignoring the
// context has the same effect.
func (m *demo) sleepPastTTL(ctx context.Context) {
	w := m.workers[demoWorkers]
	nap := func(held context.Context) error {
		token, _ := lock.Token(held)
		defer m.gauge.enter(held, w.name, token)()
		n, err := m.store.next(token)
		if err != nil {
			return err
		}
		m.asleep.token = token
		m.say(fault, "fault", "worker E gets the lock for order %s, token %d, and sleeps past its TTL of %v", thousands(n), token, m.short)
		m.say(quiet, "", "as a stopped process would: MaxHold ends the renewals, and its code ignores its context")
		if !m.oversleep(ctx, token) {
			return ctx.Err()
		}
		m.asleep.err, m.asleep.wrote = m.store.finish(token, n, w.name), true
		return m.asleep.err
	}
	for m.asleep.token == 0 && ctx.Err() == nil {
		m.asleep.account = w.locker.WithLock(ctx, demoKey, nap, lock.TTL(m.short), lock.MaxHold(m.short/4))
		if m.asleep.token == 0 {
			m.noteNoQuorum()
			time.Sleep(retryAfter)
		}
	}
	switch {
	case !m.asleep.wrote:
		m.say(plain, "worker E", "did not come to write: %v", m.asleep.account)
	case m.asleep.err == nil:
		m.say(broken, "worker E", "wakes up and writes its order with token %d: ACCEPTED", m.asleep.token)
	default:
		m.say(fenced, "worker E", "wakes up and writes its order: REJECTED, %v", m.asleep.err)
	}
}

// oversleep sleeps past the TTL, and until another worker has held the lock.
func (m *demo) oversleep(ctx context.Context, token int64) bool {
	begun := time.Now()
	select {
	case next := <-m.gauge.after(token):
		m.say(plain, "worker "+next.who, "gets the lock %v after E did, token %d: work continues",
			next.at.Sub(begun).Round(time.Millisecond), next.token)
	case <-ctx.Done():
		return false
	}
	timer := time.NewTimer(time.Until(begun.Add(m.short * 8 / 5)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// watchNodes prints the changes of the nodes that worker A notices.
func (m *demo) watchNodes(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	before := m.workers[0].c.Status()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := m.workers[0].c.Status()
		up := 0
		for i := range now {
			if !m.noQuorum.Load() { // without a quorum the changes are too many to print
				m.sayChange(before[i], now[i])
			}
			if now[i].Up && now[i].Votes {
				up++
			}
		}
		if up < m.quorum {
			m.noteNoQuorum()
		}
		before = now
	}
}

// noteNoQuorum records that a quorum was missing although at most a minority of
// the nodes has a fault.
func (m *demo) noteNoQuorum() {
	if m.noQuorum.CompareAndSwap(false, true) {
		m.say(fault, "slow", "too few nodes answer in time: is this machine busy? orders wait until they do")
	}
}

// sayChange prints how the state of a node has changed.
func (m *demo) sayChange(was, is cluster.Status) {
	name := m.names[is.Node]
	switch {
	case was.Up && !is.Up:
		m.say(quiet, "", "worker A notices: %s is down; nobody waits for it until a probe reaches it", name)
	case !was.Up && is.Up && !is.Votes:
		m.say(quiet, "", "worker A notices: %s is up, and has restarted; its vote does not count for another %v,", name, is.VotesIn.Round(100*time.Millisecond))
		m.say(quiet, "", "until every lock that it may have lost has expired")
	case !was.Up && is.Up:
		m.say(quiet, "", "worker A notices: %s is up", name)
	case !was.Votes && is.Votes:
		m.say(fixed, "fixed", "%s votes again", name)
	}
}
