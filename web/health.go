package web

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/present"
)

// health says whether locks can be acquired. Every page shows it.
type health struct {
	Verdict string    `json:"verdict"`
	Nodes   int       `json:"nodes"`
	Quorum  int       `json:"quorum"`
	Up      int       `json:"up"`
	Voting  int       `json:"voting"`
	Silent  []silence `json:"unreachable"`

	in time.Duration // until a quorum votes; negative: too few nodes are up
}

// The verdicts.
const (
	well     = "ok"
	degraded = "degraded"
	broken   = "no_quorum"
)

// silence is a node that does not answer, or cannot be used.
type silence struct {
	Node  string `json:"node"`
	Error string `json:"error"`
	since time.Time
	now   time.Time
	there bool // its server answers, with a refusal
}

// Verb is what the node does, or does not.
func (s silence) Verb() string {
	switch {
	case s.there:
		return "cannot be used"
	case s.since.IsZero():
		return "does not answer"
	}
	return "has not answered for " + ago(s.since, s.now)
}

func healthOf(all []cluster.Status, quorum int, now time.Time) health {
	h := health{Verdict: well, Nodes: len(all), Quorum: quorum, Silent: []silence{}, in: -1}
	var waits []time.Duration
	for _, n := range all {
		if !n.Up {
			h.Silent = append(h.Silent, silence{n.Node, present.Error(n.Err), n.Since, now, present.Unusable(n.Err)})
			continue
		}
		h.Up++
		if n.Votes {
			h.Voting++
		}
		waits = append(waits, max(n.VotesIn, 0))
	}
	if slices.Sort(waits); h.Up >= quorum {
		h.in = waits[quorum-1]
	}
	switch {
	case h.Voting < quorum:
		h.Verdict = broken
	case h.Voting < h.Nodes:
		h.Verdict = degraded
	}
	return h
}

// Headline is the one sentence that matters most.
func (h health) Headline() string {
	switch missing := h.Nodes - h.Up; {
	case h.Verdict == broken:
		return "No lock can be acquired"
	case missing > 0:
		return fmt.Sprintf("Locks work; %d of %d nodes down", missing, h.Nodes)
	case h.Verdict == degraded:
		return fmt.Sprintf("Locks work; %d of %d nodes vote", h.Voting, h.Nodes)
	}
	return "Locks work"
}

// Detail explains the headline.
func (h health) Detail() string {
	up := fmt.Sprintf("%d of %s up", h.Up, present.Plural(h.Nodes, "node is", "nodes are"))
	need := fmt.Sprintf("a quorum is %d", h.Quorum)
	switch {
	case h.Up < h.Quorum:
		return up + "; " + need + "."
	case h.Verdict == broken && h.in > 0:
		return fmt.Sprintf("%s, but only %d vote; %s. A quorum votes in %s.", up, h.Voting, need, span(h.in))
	case h.Verdict == broken:
		return fmt.Sprintf("%s, but only %d vote; %s.", up, h.Voting, need)
	case h.Voting < h.Up:
		return fmt.Sprintf("%s, and %d vote; %s.", up, h.Voting, need)
	case h.Up < h.Nodes:
		return up + "; " + need + "."
	}
	return fmt.Sprintf("All %s and vote; %s.", present.Plural(h.Nodes, "node is up", "nodes are up"), need)
}

// statuses is the newest state of the nodes: as they said, or, before the first
// answer, as this process knows it.
func (h *Handler) statuses(p picture) []cluster.Status {
	if p.nodes.at.IsZero() {
		return h.src.Status()
	}
	all := make([]cluster.Status, len(p.nodes.value))
	for i, r := range p.nodes.value {
		all[i] = r.Status
	}
	return all
}

// frame is what all pages have in common.
type frame struct {
	Health  health    `json:"health"`
	Partial bool      `json:"partial"` // something is missing: Notices says what
	Notices []string  `json:"notices"`
	AsOf    time.Time `json:"as_of"` // of the oldest answer that is shown

	page *page
	now  time.Time
}

func (h *Handler) frame(p picture, now time.Time) frame {
	f := frame{Health: healthOf(h.statuses(p), h.src.Quorum(), now), Notices: []string{}, now: now}
	if p.nodes.at.IsZero() {
		f.missing("The nodes have not answered yet.")
	}
	f.asOf(p.nodes.at)
	return f
}

// asOf notes how old something is that the page shows. Zero: it is not known.
func (f *frame) asOf(at time.Time) {
	if !at.IsZero() && (f.AsOf.IsZero() || at.Before(f.AsOf)) {
		f.AsOf = at
	}
}

// missing marks the page as partial.
func (f *frame) missing(notice string) {
	f.Partial = true
	f.Notices = append(f.Notices, notice)
}

// cover notes what is missing of a part, and how old it is.
func cover[T any](f *frame, p part[T], what string) {
	switch {
	case p.at.IsZero():
		f.missing("The first check of the " + what + " is in progress.")
	case p.err != nil:
		f.missing("Partial: some " + what + " may be missing. " + advice(p.err) + ".")
	}
	f.asOf(p.at)
}

// advice is the text of an error, with what to do about a refused SCAN. Nodes
// that do not answer are named elsewhere on the page.
func advice(err error) string {
	var short *cluster.QuorumError
	switch {
	case present.Denied(err):
		return present.Error(err) + ". Allow SCAN to the nodes' user: ACL SETUSER name +scan"
	case errors.As(err, &short):
		return fmt.Sprintf("%s answered, and %d are needed to know all", present.Plural(short.Got, "node", "nodes"), short.Need)
	}
	return strings.TrimSuffix(present.Error(err), ".")
}

// Page is the page that is shown.
func (f frame) Page() *page { return f.page }

// Stale is how old the answers are, where that is worth saying.
func (f frame) Stale() string {
	if f.AsOf.IsZero() || f.now.Sub(f.AsOf) < stale {
		return ""
	}
	return ago(f.AsOf, f.now)
}

// stale is the age from which a page says how old its answers are.
const stale = 5 * time.Second

// Clock is when the answers came.
func (f frame) Clock() string {
	if f.AsOf.IsZero() {
		return ""
	}
	return f.AsOf.Format(time.TimeOnly)
}

func (f *frame) shell() *frame { return f }
