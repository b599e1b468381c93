package telemetry

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
)

// elections counts the elections of one name, or kind of name, in which this
// process takes part.
type elections struct{ campaigns, led int }

// JobSucceeded reports when a job of RunOnce succeeded on a set of nodes, by
// the clock of the process that ran it.
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

// Campaigns reports that this process campaigns in an election on a set of
// nodes. Call won when it leads, and lost when it no longer leads or stops
// campaigning.
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

// namedLocked returns the attributes that distinguish a job or an election of a
// set of nodes: the nodes, and the program's attribute for name.
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
