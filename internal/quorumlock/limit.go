package quorumlock

import (
	_ "embed"
	"errors"
	"math/rand"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// How up to N hold a key at once.
//
// The key has N numbered slots, each of which is exclusive. To count holders on
// each node would be wrong: of three holders of Limit(2) on three nodes, each
// node sees two. An attempt draws a slot, which is the same for all nodes, and
// each node grants the first that is free from there on. Only votes for one slot
// count together. What was granted of others is given back. A refusal says which
// slots are taken there, and by which holders, as two letters for each; so an
// attempt tells slots that somebody has a quorum of from those for which the
// votes are split, and the next starts from one of these.
//
// While a slot is taken, the lock key holds a marker, limit:N. So an exclusive
// lock, redsync and programs of earlier versions find it held, and a caller of
// another N is refused.
//
// # Tokens
//
// Slots have classes, the slot's number modulo the number of classes, which is
// N, up to maxClasses. For each token that it is to own an attempt draws a number
// for each class from the fence counter. It owns those of its class up to m, the
// number on which it settles: two slots of different classes never have the same
// token. Within a class, as with an exclusive lock, a node stands behind a
// number for one acquisition only: it keeps the largest number of the class that
// it told, or was raised to, and accepts a raise if that is what it told this
// attempt, or is below all that the attempt owns. Then agree.go holds for each
// class. More classes would have the counter run ahead of the clock, from which
// it starts where it was lost; with fewer, attempts that meet fail more often.
//
// The owner check alone, which is all that an exclusive lock of an earlier
// version has, does not do: a slot's holder keeps its slot while another is told
// the number that the first one raises to. So a node stores beside the value
// what it told, and raises only if the slot is still as that grant left it: an
// acquisition that is delivered a second time, after the slot was another's, is
// told another number.
//
// Counters of a quorum are at m or above when an acquisition settles, so a later
// acquisition of any slot has larger tokens than those drawn before it began. A
// hand-over draws nothing. So what a storage can rely on is the order of the
// tokens of one slot.
//
// search_limit_test.go searches this.

const (
	// MaxLimit is how many may hold a key at once.
	MaxLimit = 1024
	// maxClasses is how many classes the slots of a key have at the most.
	maxClasses = 16
	// limitMarker begins the value of a lock key that has slots.
	limitMarker = "limit:"
	// limitWaiter follows a process in the queue if it waits for a slot.
	limitWaiter = "/s"
	// mapLimit is from how many slots on a grant of the slot asked for leaves out
	// which are taken.
	mapLimit = 64
	// tagWidth is how many bytes stand for a holder.
	tagWidth = 2
	// freeTag stands for a slot that is free, and forcedTag for one that was seized.
	freeTag, forcedTag = "00", "!!"
)

//go:embed scripts/limit.lua
var limitSource string

//go:embed scripts/limitqueue.lua
var limitQueueSource string

//go:embed scripts/limitwake.lua
var limitWakeSource string

//go:embed scripts/limitacquire.lua
var limitAcquireSource string

//go:embed scripts/limitraise.lua
var limitRaiseSource string

//go:embed scripts/limitextend.lua
var limitExtendSource string

//go:embed scripts/limitrelease.lua
var limitReleaseSource string

//go:embed scripts/limitleave.lua
var limitLeaveSource string

//go:embed scripts/limitview.lua
var limitViewSource string

//go:embed scripts/limitseize.lua
var limitSeizeSource string

// The steps of the protocol on one node for a key with a limit.
var (
	limitAcquireScript = nodeset.NewScript("acquire", drawSource+limitSource+limitQueueSource+limitAcquireSource)
	limitRaiseScript   = nodeset.NewScript("bump fence", limitRaiseSource)
	limitExtendScript  = nodeset.NewScript("extend", limitSource+limitExtendSource)
	limitReleaseScript = nodeset.NewScript("release", wakeSource+limitSource+limitWakeSource+limitQueueSource+limitReleaseSource)
	limitLeaveScript   = nodeset.NewScript("leave", wakeSource+limitSource+limitWakeSource+limitLeaveSource)
	limitViewScript    = nodeset.NewScript("inspect", limitSource+limitViewSource)
	limitSeizeScript   = nodeset.NewScript("seize", limitSource+limitSeizeSource)
)

// limitNames are the keys of a lock with a limit, in the order in which its
// scripts take them.
func limitNames(lock string) []string {
	keys := namesOf(lock)
	return append(keys[:], Companion(lock, "slots"), Companion(lock, "until"))
}

// limitOf is the N of a marker, 0 if value is none.
func limitOf(value string) int {
	text, ok := strings.CutPrefix(value, limitMarker)
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 1 || n > MaxLimit {
		return 0
	}
	return n
}

// Classes returns how many fence-counter values each token of a key with this
// limit uses, which is also the step between consecutive tokens of a slot.
func Classes(limit int) int { return min(limit, maxClasses) }

func checkLimit(req Request) error {
	switch {
	case req.Limit < 0 || req.Limit > MaxLimit:
		return configerr.Field("Limit", "%d is out of range; from 1 to %d", req.Limit, MaxLimit)
	case req.Limit > 0 && req.Handle != nil:
		return configerr.Field("Limit", "a handle is of an exclusive lock; attach it without")
	case req.Limit > 0 && req.TokenBlock*Classes(req.Limit) > MaxTokenBlock:
		return configerr.Field("Request.TokenBlock", "%d is out of range; with Limit(%d) from 1 to %d", req.TokenBlock, req.Limit, MaxTokenBlock/Classes(req.Limit))
	}
	return nil
}

// limited is what a Hold of a key with a limit has besides. A nil one is of an
// exclusive lock.
type limited struct {
	n     int
	start int // from where on nodes look for a free slot
	tag   string

	// Guarded by the hold's mu.
	slot  int     // on which it settled; -1: it has not yet
	slots []int16 // by node: which it granted; -1: none
	// By node, what it said of its slots; nil once it is a hold.
	said []slotsSaid

	requeue bool // it was refused, and waits: it is queued where it gives back what it was granted
}

// newTag draws bytes that stand for a holder: letters, or what is not ASCII. Two
// holders have the same tag once in 32,400 times.
func newTag() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var tag [tagWidth]byte
	for i := range tag {
		one := rand.Intn(len(letters) + 128)
		if one < len(letters) {
			tag[i] = letters[one]
		} else {
			tag[i] = byte(128 + one - len(letters))
		}
	}
	return string(tag[:])
}

// slotsSaid is what a node said of the slots of a key.
type slotsSaid struct {
	slots string        // who has which; "": it did not say
	left  time.Duration // until one may come free, or one more; negative: not known
}

// tag is that of the holder of a slot.
func (s *slotsSaid) tag(slot int) string { return s.slots[slot*tagWidth : (slot+1)*tagWidth] }

func newLimited(req Request, nodes int) *limited {
	l := &limited{n: req.Limit, start: req.Start - 1, slot: -1, slots: make([]int16, nodes), said: make([]slotsSaid, nodes)}
	if l.start < 0 || l.start >= l.n {
		l.start = rand.Intn(l.n)
	}
	l.tag = newTag()
	for i := range l.slots {
		l.slots[i] = -1
	}
	return l
}

func (l *limited) marker() string { return limitMarker + strconv.Itoa(l.n) }

// step is by how much the next token is larger.
func (l *limited) step() int64 {
	if l == nil {
		return 1
	}
	return int64(Classes(l.n))
}

// last is the last token of an acquisition that settled on m.
func (l *limited) last(m int64) int64 {
	if l == nil {
		return m
	}
	return m - floorMod(m-int64(l.slot), l.step())
}

func floorMod(a, b int64) int64 { return ((a % b) + b) % b }

// drawn is how many numbers an attempt draws from a counter.
func (h *Hold) drawn() int64 { return h.block * h.limit.step() }

// Limit is how many may hold the key at once, 0 of an exclusive lock.
func (h *Hold) Limit() int {
	if h.limit == nil {
		return 0
	}
	return h.limit.n
}

// Slot is the number of the slot that is held, of a key with a limit; -1 of
// others.
func (h *Hold) Slot() int {
	if h.limit == nil {
		return -1
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.limit.slot
}

// acquireCommand is the acquire script for this attempt, which started at start,
// but for what differs from node to node.
func (l *limited) acquireCommand(h *Hold, start time.Time) nodeset.Command {
	words := &h.r.words
	return limitAcquireScript.Command(limitNames(h.lock), &h.value, h.r.keptFor(h.ttl), h.drawn(), start.UnixMicro(),
		words.process+limitWaiter, &words.retention, &words.maxTTL, l.marker(), l.n, l.start, l.tag, l.step(), 0, "")
}

func (l *limited) raiseCommand(h *Hold, told, to int64) nodeset.Command {
	return limitRaiseScript.Command(limitNames(h.lock), &h.value, l.slot, told, to, &h.r.words.retention,
		l.slot%Classes(l.n), h.drawn(), l.marker())
}

func (l *limited) extendCommand(h *Hold, ttl time.Duration) nodeset.Command {
	return limitExtendScript.Command(limitNames(h.lock), &h.value, h.r.keptFor(ttl), l.slot, l.marker(), l.n, l.tag)
}

// releaseCommand releases a value's slot, whichever it is if slot is "".
func (l *limited) releaseCommand(r *Redlock, lock string, value *string, slot string, reserve *int64) nodeset.Command {
	return limitReleaseScript.Command(limitNames(lock), value, l.marker(), slot, reserve, &r.words.maxTTL, "", "")
}

// requeuing is a release that queues this process on n for the slots that others
// have there: a node that granted another slot than its holders have did not queue
// it, and of a wait for one of these it is to be notified by every node. If the
// answer comes so late that the wait is over, the first wake finds nobody and is
// passed on.
func (h *Hold) requeuing(n *nodeset.Node, release nodeset.Command) nodeset.Command {
	return release.WithTwo(h.r.words.process+limitWaiter, oneIf(n.Sharded()))
}

// leave takes this process out of these nodes' queues, for what the hold is of.
func (h *Hold) leave(nodes []*nodeset.Node, toEnd bool, reserve *int64) {
	if h.limit == nil {
		h.r.leave(h.lock, nodes, h.Shared(), toEnd, reserve)
		return
	}
	h.r.leaveLimit(h.lock, nodes, toEnd, reserve)
}

// LeaveLimit is LeaveLock for waits for a slot.
func (r *Redlock) LeaveLimit(lock string) {
	r.leaveLimit(lock, r.c.Nodes(), false, &r.words.handOver)
}

func (r *Redlock) leaveLimit(lock string, nodes []*nodeset.Node, toEnd bool, reserve *int64) {
	cmd := limitLeaveScript.Command(limitNames(lock), r.words.process+limitWaiter, reserve, oneIf(toEnd), "")
	for _, n := range nodes {
		sendLeave(n, cmd)
	}
}

// leaveOtherSlots gives back what nodes granted of other slots than the one on
// which the attempt has settled. It names the slot: a copy that comes late must
// not release what a renewal has set since. One that is lost does no harm: the
// next renewal leaves the slot as well.
func (h *Hold) leaveOtherSlots() {
	l := h.limit
	if l == nil {
		return
	}
	type other struct {
		n    *nodeset.Node
		slot string
	}
	var due []other
	h.mu.Lock()
	for i, n := range h.r.c.Nodes() {
		if slot := l.slots[i]; l.slot >= 0 && slot >= 0 && int(slot) != l.slot && (h.phase == phaseBumping || h.phase == phaseHeld) {
			due = append(due, other{n, strconv.Itoa(int(slot))})
			l.slots[i] = -1
		}
	}
	h.mu.Unlock()
	for _, o := range due {
		value := h.value
		o.n.Send(releaseOn(o.n, l.releaseCommand(h.r, h.lock, &value, o.slot, &h.r.words.handOver)), nil)
	}
}

// slotAcquirer receives the answers to acquire scripts of keys with a limit.
type slotAcquirer Hold

func (a *slotAcquirer) Receive(n *nodeset.Node, reply any, err error) {
	h := (*Hold)(a)
	granted, g, err := readSlotGrant(reply, err, h.drawn(), h.limit.n)
	if errors.Is(err, errFence) {
		n.FenceUnusable(h.key)
	}
	h.take(n, granted, g, err)
}

// readSlotGrant reads a reply. Whatever does not look exactly like a grant is
// none.
func readSlotGrant(reply any, err error, drawn int64, slots int) (granted bool, g grant, _ error) {
	words, ok := reply.([]any)
	if err != nil || !ok || len(words) < 4 {
		if err == nil {
			err = badReply("acquire", reply)
		}
		_, _, err = readGrant(nil, err, drawn)
		return false, g, err
	}
	granted, g, err = readGrant(words[:3:3], nil, drawn)
	if err != nil {
		return false, g, err
	}
	rest := words[3:]
	if granted {
		slot, ok := rest[0].(int64)
		if !ok || slot < 0 || slot >= int64(slots) || len(rest) != 3 {
			return false, grant{}, badReply("acquire", reply)
		}
		left, ok := rest[2].(int64)
		if !ok {
			return false, grant{}, badReply("acquire", reply)
		}
		g.slot, g.left, rest = int(slot), timeLeft(left), rest[1:2]
	}
	text, ok := rest[0].(string)
	if !ok || len(rest) != 1 || text != "" && len(text) != slots*tagWidth {
		return false, grant{}, badReply("acquire", reply)
	}
	g.slots = text
	return granted, g, nil
}

// parseSlotMessage reads <slot>:<lock>.
func parseSlotMessage(text string) (m Message, ok bool) {
	number, lock, ok := strings.Cut(text, ":")
	slot, err := strconv.Atoi(number)
	if !ok || err != nil || slot < 0 || slot >= MaxLimit {
		return Message{}, false
	}
	return Message{Lock: lock, Turn: true, Slot: slot + 1}, true
}

// otherLimitLocked is the error of an attempt that others keep from winning who
// hold the key with another limit; nil if it is not for that.
func (h *Hold) otherLimitLocked() error {
	if h.limit == nil {
		return nil
	}
	other, nodes := 0, 0
	for i := range h.members {
		if n := limitOf(h.members[i].last().holder); n > 0 && n != h.limit.n && h.members[i].result == Refused {
			other, nodes = n, nodes+1
		}
	}
	if len(h.members)-nodes >= h.r.c.Quorum() {
		return nil
	}
	return configerr.Field("Limit", "%d, and %q is held by others with Limit(%d); all callers of a key name the same limit, "+
		"and a new one takes effect when no slot is taken", h.limit.n, h.key, other)
}
