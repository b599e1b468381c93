package nodeset

import "fmt"

// Severity says what a Finding can cost.
type Severity int

const (
	Note    Severity = iota // worth knowing
	Warning                 // costs availability or comes near to costing a lock
	Danger                  // can lose a lock, or will not go away by itself
)

func (s Severity) String() string { return [...]string{"note", "warning", "danger"}[s] }

// Finding is one thing Check found.
type Finding struct {
	Node     string // "" for the set as a whole
	Severity Severity
	Text     string  // what is so
	Fix      string  // what to do about it
	Runbook  Runbook // where docs/oncall.md says more
}

func (f Finding) String() string {
	where := "set"
	if f.Node != "" {
		where = "node " + f.Node
	}
	return fmt.Sprintf("%s: %s: %s; %s", f.Severity, where, f.Text, f.Fix)
}

// Runbook is the anchor of a heading of docs/oncall.md.
type Runbook string

// The runbook of each finding. A test holds them to the headings of the page.
const (
	RunbookSize      Runbook = "sizing"
	RunbookLists     Runbook = "lists-that-differ"
	RunbookResize    Runbook = "growing-the-set"
	RunbookBootstrap Runbook = "a-set-that-is-not-bootstrapped"
	RunbookNoQuorum  Runbook = "redlocknoquorum"
	RunbookDown      Runbook = "a-node-that-is-down"
	RunbookUnusable  Runbook = "a-node-that-cannot-be-used"
	RunbookServers   Runbook = "two-servers-behind-one-name"
	RunbookRights    Runbook = "rights"
	RunbookRestart   Runbook = "rolling-restart-of-nodes"
	RunbookMemory    Runbook = "a-node-that-loses-data"
	RunbookClock     Runbook = "a-node-with-a-bad-clock"
	RunbookFence     Runbook = "a-poisoned-counter"
)

// Runbooks are all anchors.
var Runbooks = []Runbook{RunbookSize, RunbookLists, RunbookResize, RunbookBootstrap, RunbookNoQuorum, RunbookDown, RunbookUnusable, RunbookServers, RunbookRights, RunbookRestart,
	RunbookMemory, RunbookClock, RunbookFence}

// Link is where the runbook is, from the root of the repository.
func (r Runbook) Link() string {
	if r == "" {
		return ""
	}
	return "docs/oncall.md#" + string(r)
}
