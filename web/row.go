package web

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/venta-hq/redlock/internal/present"
	"github.com/venta-hq/redlock/lock"
)

// Link is the page of the lock.
func (r lockRow) Link() string { return lockLink(r.Key) }

func lockLink(key string) string { return "lock?" + keyQuery(key) }

func keyQuery(key string) string { return url.Values{"key": {key}}.Encode() }

// Who is the label of the holder, or what kind of program it is, or how many hold
// the lock.
func (r lockRow) Who() string {
	if r.Several() {
		return r.count()
	}
	return who(r.holder)
}

// Where is the host and process of the holder, "" if Who says it, or the labels of
// the first that hold the lock.
func (r lockRow) Where() string {
	if r.Several() {
		return r.labels
	}
	return where(r.holder)
}

func who(h lock.Holder) string {
	if named(h) {
		return h.Name
	}
	return h.String()
}

func where(h lock.Holder) string {
	if named(h) {
		return place(h)
	}
	return ""
}

// named reports whether a holder has a label.
func named(h lock.Holder) bool {
	return (h.Writer == lock.WriterRedlock || h.Writer == lock.WriterDetached) && h.Name != ""
}

// Badge is a word for a lock that is not plainly held.
func (r lockRow) Badge() string {
	switch r.State {
	case "taken":
		return "taken away"
	case lock.Partial.String():
		return "changing hands"
	case lock.Unknown.String():
		return "unknown"
	}
	return ""
}

// Age is for how long the lock has been held.
func (r lockRow) Age() string {
	if r.since.IsZero() {
		return "–"
	}
	return ago(r.since, r.now)
}

// Left is when the lock expires if it is not renewed.
func (r lockRow) Left() string {
	switch {
	case r.State == lock.Partial.String() || r.State == lock.Free.String():
		return "–"
	case r.State == lock.Unknown.String():
		return "?"
	case r.left < 0:
		return "never"
	}
	return span(r.left)
}

// Share is the time left in percent of the longest time that was seen.
func (r lockRow) Share() int {
	if r.left <= 0 || r.term <= 0 {
		return 0
	}
	return int(min(100*r.left/r.term, 100))
}

// TokenText is a token that is known up to the block it is in.
func (r lockRow) TokenText() string {
	if r.Token == 0 {
		return "–"
	}
	return fmt.Sprintf("≤ %d", r.Token)
}

// DotsText is the dots in words.
func (r lockRow) DotsText() string {
	var parts []string
	for _, kind := range []string{"has", "mute", "other", "none", "silent"} {
		var names []string
		for _, n := range r.Nodes {
			if n.Dot() == kind {
				names = append(names, present.Line(n.Node))
			}
		}
		if len(names) > 0 {
			parts = append(parts, present.Plural(len(names), "node ", "nodes ")+dotWords[kind]+plainList(kind, names))
		}
	}
	return strings.Join(parts, "; ")
}

var dotWords = map[string]string{
	"has":    "with it",
	"mute":   "with it that cannot vote yet",
	"other":  "with another holder",
	"none":   "without it",
	"silent": "without an answer",
}

// plainList names the nodes that are not as they should be.
func plainList(kind string, names []string) string {
	if kind == "has" {
		return ""
	}
	return ": " + strings.Join(names, ", ")
}

// Dot is what the node reports of the lock.
func (n nodeView) Dot() string {
	switch {
	case n.view.Err != nil:
		return "silent"
	case n.view.Holder.Writer == lock.NoWriter:
		return "none"
	case !n.same:
		return "other"
	case !n.view.Votes:
		return "mute"
	}
	return "has"
}

// Word is the dot in words.
func (n nodeView) Word() string {
	return map[string]string{"has": "has it", "mute": "has it, cannot vote yet", "other": "has another holder", "none": "has nothing",
		"silent": "does not answer"}[n.Dot()]
}

// Who is the holder that the node names.
func (n nodeView) Who() string {
	if n.Holder == nil {
		return "–"
	}
	return n.view.Holder.String()
}

// Left is until the key expires on the node.
func (n nodeView) Left() string {
	switch {
	case n.Holder == nil:
		return "–"
	case n.view.Left < 0:
		return "never"
	}
	return span(n.view.Left)
}

// FenceText is the node's fence counter.
func (n nodeView) FenceText() string {
	if n.Fence == 0 {
		return "–"
	}
	return fmt.Sprint(n.Fence)
}
