package telemetry

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// elections is how many elections of one name, or kind of name, this process
// takes part in.
type elections struct{ campaigns, led int }

// JobSucceeded says when a job of RunOnce succeeded on a set of nodes, by the
// clock of the process that ran it.
func (t *Telemetry) JobSucceeded(nodes, job string, at time.Time) {
	if t == nil || !t.metrics || at.IsZero() {
		return
	}
	if now := time.Now(); at.After(now) {
		at = now
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.namedLocked(nodes, jobAttr, job)
	t.jobs[p] = max(t.jobs[p], float64(at.UnixMicro())/1e6)
}

// Campaigns says that this process campaigns in an election on a set of nodes.
// won is called when it leads, lost when it no longer does, or gives up.
func (t *Telemetry) Campaigns(nodes, election string) (won, lost func()) {
	if t == nil || !t.metrics {
		return func() {}, func() {}
	}
	change := func(campaigns, led int) {
		t.mu.Lock()
		defer t.mu.Unlock()
		p := t.namedLocked(nodes, electionAttr, election)
		e := t.leading[p]
		e.campaigns, e.led = e.campaigns+campaigns, e.led+led
		t.leading[p] = e
		if e == (elections{}) {
			delete(t.leading, p)
		}
	}
	change(1, 0)
	leads := false
	won = func() { leads = true; change(-1, 1) }
	lost = func() {
		if leads {
			change(0, -1)
		} else {
			change(-1, 0)
		}
	}
	return won, lost
}

// namedLocked is what tells a job or an election of a set of nodes from others:
// the nodes, and what the program makes of name.
func (t *Telemetry) namedLocked(nodes string, attr attribute.Key, name string) attribute.Distinct {
	set := attribute.NewSet(attribute.String(NodesAttr, nodes))
	if t.key != nil {
		if kind := t.key(name); kind != "" {
			set = attribute.NewSet(attribute.String(NodesAttr, nodes), attr.String(kind))
		}
	}
	t.sets[set.Equivalent()] = set
	return set.Equivalent()
}
