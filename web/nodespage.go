package web

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/present"
)

// nodesDoc is the page of the nodes.
type nodesDoc struct {
	frame
	List     []nodeRow    `json:"nodes"`
	Findings []findingRow `json:"findings"`
	Events   []event      `json:"events"`
	Checked  bool         `json:"checked"` // the findings are complete
}

// nodeRow is one node.
type nodeRow struct {
	Node      string  `json:"node"`
	Up        bool    `json:"up"`
	State     string  `json:"state"`
	Error     string  `json:"error,omitempty"`
	Votes     bool    `json:"votes"`
	VotesInMs float64 `json:"votes_in_ms"`
	LatencyMs float64 `json:"latency_ms"`
	Server    string  `json:"server,omitempty"`
	Version   string  `json:"version"`
	UptimeS   int64   `json:"uptime_s"`
	Persists  string  `json:"append_only"`
	Eviction  string  `json:"eviction"`
	ClockMs   float64 `json:"clock_offset_ms"`

	report cluster.Report
	now    time.Time
}

// findingRow is one finding of doctor, for all nodes that have it.
type findingRow struct {
	Severity string   `json:"severity"`
	Nodes    []string `json:"nodes"` // empty: the set as a whole
	Text     string   `json:"text"`
	Fix      string   `json:"fix"`
	Runbook  string   `json:"runbook,omitempty"`

	severity cluster.Severity
	anchor   cluster.Runbook
}

// nodesPage shows how each node does, and what doctor finds.
func (h *Handler) nodesPage(v visit) (document, error) {
	p := h.survey.fresh(v.ctx, func(p *picture) []time.Time { return []time.Time{p.nodes.due, p.checks.due, p.fences.due} })
	d := &nodesDoc{frame: h.frame(p, time.Now()), List: []nodeRow{}, Checked: !p.checks.at.IsZero() && !p.fences.at.IsZero(),
		Events: h.survey.journal.of(func(e event) bool { return e.Node != "" }, lockEvents)}
	reports := p.nodes.value
	if p.nodes.at.IsZero() {
		for _, s := range h.src.Status() {
			reports = append(reports, cluster.Report{Status: s})
		}
	}
	for _, r := range reports {
		d.List = append(d.List, nodeRowOf(r, d.now))
	}
	if !d.Checked {
		d.missing("The first check of the nodes is in progress.")
	}
	d.asOf(p.checks.at)
	d.asOf(p.fences.at)
	d.Findings = h.findings(slices.Concat(p.checks.value, p.fences.value))
	return d, nil
}

func nodeRowOf(r cluster.Report, now time.Time) nodeRow {
	n := nodeRow{Node: r.Node, Up: r.Up, State: present.NodeState(r), Votes: r.Votes, VotesInMs: present.Ms(r.VotesIn), LatencyMs: present.Ms(r.Latency),
		Server: r.Server, Version: r.Version, UptimeS: int64(r.Uptime / time.Second), Persists: r.Persistence, Eviction: r.Eviction,
		ClockMs: present.Ms(r.ClockOffset), report: r, now: now}
	if r.Err != nil {
		n.Error = present.Error(r.Err)
	}
	return n
}

// findings joins what several nodes have in common. The worst come first.
func (h *Handler) findings(found []cluster.Finding) []findingRow {
	rows := []findingRow{}
	for _, f := range found {
		i := slices.IndexFunc(rows, func(r findingRow) bool {
			return r.severity == f.Severity && r.Text == f.Text && r.Fix == f.Fix && r.anchor == f.Runbook
		})
		if i < 0 {
			i = len(rows)
			row := findingRow{Severity: f.Severity.String(), Nodes: []string{}, Text: f.Text, Fix: f.Fix, Runbook: h.cfg.Runbook(f), severity: f.Severity, anchor: f.Runbook}
			rows = append(rows, row)
		}
		if f.Node != "" {
			rows[i].Nodes = append(rows[i].Nodes, f.Node)
		}
	}
	slices.SortStableFunc(rows, func(a, b findingRow) int { return cmp.Compare(b.severity, a.severity) })
	return rows
}

// VoteText says whether the node votes, or when it will.
func (n nodeRow) VoteText() string {
	switch {
	case n.Votes:
		return "yes"
	case !n.Up:
		return "–"
	case n.report.TakesTurns:
		return "no: several servers answer under its name"
	case n.report.New:
		return "in no set yet"
	case n.report.VotesIn > 0:
		return "in " + span(n.report.VotesIn)
	}
	return "with a quorum"
}

// Down is for how long the node has not answered.
func (n nodeRow) Down() string {
	if n.Up || n.report.Since.IsZero() {
		return ""
	}
	return "for " + ago(n.report.Since, n.now)
}

// Latency is a round trip.
func (n nodeRow) Latency() string {
	switch d := n.report.Latency; {
	case !n.Up || d == 0:
		return "–"
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	default:
		return fmt.Sprintf("%.1f ms", present.Ms(d))
	}
}

// Program is the server and its version.
func (n nodeRow) Program() string {
	switch {
	case n.Version == "":
		return "not reported"
	case n.Server == "":
		return n.Version
	}
	return n.Server + " " + n.Version
}

// Uptime is for how long the server has run.
func (n nodeRow) Uptime() string {
	if !n.Up {
		return "–"
	}
	return span(n.report.Uptime)
}

// Clock is the node's clock minus this machine's.
func (n nodeRow) Clock() string {
	if !n.Up {
		return "–"
	}
	return fmt.Sprintf("%+.1f ms", present.Ms(n.report.ClockOffset))
}

// Reported is a setting, or that the node does not report it.
func (n nodeRow) Reported(setting string) string {
	switch {
	case !n.Up:
		return "–"
	case setting == "":
		return "not reported"
	}
	return setting
}

// Where is the nodes that have the finding.
func (f findingRow) Where() string {
	switch len(f.Nodes) {
	case 0:
		return "the set"
	case 1:
		return "node " + present.Line(f.Nodes[0])
	}
	return "each of " + present.Plural(len(f.Nodes), "node", "nodes")
}

// Members is the nodes of the set and its quorum.
func (d *nodesDoc) Members() string {
	return fmt.Sprintf("%s, quorum %d", present.Plural(d.Health.Nodes, "node", "nodes"), d.Health.Quorum)
}
