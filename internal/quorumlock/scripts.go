package quorumlock

import (
	_ "embed"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

//go:embed scripts/draw.lua
var drawSource string

//go:embed scripts/wake.lua
var wakeSource string

//go:embed scripts/acquire.lua
var acquireSource string

//go:embed scripts/detach.lua
var detachSource string

//go:embed scripts/attach.lua
var attachSource string

//go:embed scripts/return.lua
var returnSource string

//go:embed scripts/extend.lua
var extendSource string

//go:embed scripts/bumpfence.lua
var bumpFenceSource string

//go:embed scripts/release.lua
var releaseSource string

//go:embed scripts/leave.lua
var leaveSource string

//go:embed scripts/repair.lua
var repairSource string

//go:embed scripts/inspect.lua
var inspectSource string

//go:embed scripts/seize.lua
var seizeSource string

// The steps of the protocol on one node. Each has the same effect when it is delivered twice as when delivered once.
var (
	acquireScript   = nodeset.NewScript("acquire", drawSource+acquireSource)
	detachScript    = nodeset.NewScript("detach", drawSource+detachSource)
	attachScript    = nodeset.NewScript("attach", drawSource+attachSource)
	returnScript    = nodeset.NewScript("return", returnSource)
	extendScript    = nodeset.NewScript("extend", extendSource)
	bumpFenceScript = nodeset.NewScript("bump fence", bumpFenceSource)
	releaseScript   = nodeset.NewScript("release", wakeSource+releaseSource)
	leaveScript     = nodeset.NewScript("leave", wakeSource+leaveSource)
	seizeScript     = nodeset.NewScript("seize", readersSource+seizeSource)
	inspectScript   = nodeset.NewScript("inspect", inspectSource)
	repairScript    = nodeset.NewScript("repair", repairSource)
)

// acquireCommand is the acquire or attach script for this attempt, which started at start, but for what differs from node to node.
func (h *Hold) acquireCommand(start time.Time) nodeset.Command {
	if h.limit != nil {
		return h.limit.acquireCommand(h, start)
	}
	if h.Shared() {
		return h.shareCommand(start)
	}
	keys, words := namesOf(h.lock), &h.r.words
	script, by := acquireScript, &words.process
	if h.handle != nil {
		script, by = attachScript, &h.handle.Value
	}
	return script.Command(keys[:], &h.value, h.r.keptFor(h.ttl), &h.block, start.UnixMicro(), by,
		&words.retention, &words.maxTTL, 0, "")
}

// names are the Redis keys of one lock, in the order in which the scripts take them: the lock itself, its fence
// counter, the queue of waiting processes, and the process whose turn is next.
type names [4]string

// namesOf puts the companions into the hash slot of the lock key, so that a node may be a Redis Cluster: they repeat its
// hash tag, or make the whole lock key theirs. (A lock key that holds a "}" and no tag has no companion in its slot; a
// Redis Cluster refuses it.)
func namesOf(lock string) names {
	stem := stemOf(lock)
	const fence, queue, next = ":fence", ":queue", ":next"
	all := stem + fence + stem + queue + stem + next // one string for all three
	i, j := len(stem)+len(fence), 2*len(stem)+len(fence)+len(queue)
	return names{lock, all[:i], all[i:j], all[j:]}
}

func stemOf(lock string) string {
	if tagged(lock) {
		return lock
	}
	return "{" + lock + "}"
}

// companions are the endings of the names of all that the nodes keep beside a
// lock, by this package and those on top of it. A lock whose key is such a name
// would be in the way of the other.
var companions = []string{":fence", ":queue", ":next", ":record", ":promise", ":slots", ":until", ":readers"}

// Companion is the name of something else that belongs to a lock key, in the
// same hash slot. The suffixes fence, queue and next are taken, and every other
// has to be listed in companions.
func Companion(lock, suffix string) string { return stemOf(lock) + ":" + suffix }

// tagged reports whether Redis Cluster would place key by a part of it: the first {…} that is not empty.
func tagged(key string) bool {
	_, rest, open := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(rest, "}")
	return open && closed && tag != ""
}

// Message is what a node told this process about a key.
type Message struct {
	Lock string // the lock key, prefix and all
	Turn bool   // the key is free and kept for this process for a moment; otherwise another process began to wait
	Slot int    // of a key with a limit: the slot that came free, counted from 1; 0: none is named
	Ask  bool   // a reader of another process asks whether this one waits to write, as its place in the queue says
}

// ParseMessage reads a message of the mailbox. ok is false if it is not about a lock.
func ParseMessage(text string) (m Message, ok bool) {
	if strings.HasPrefix(text, "s") {
		return parseSlotMessage(text[1:])
	}
	if text == "" || text[0] != 'w' && text[0] != 'q' && text[0] != 'p' {
		return Message{}, false
	}
	return Message{Lock: text[1:], Turn: text[0] == 'w', Ask: text[0] == 'p'}, true
}
