package quorumlock

import (
	"cmp"
	"context"
	_ "embed"
	"slices"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// How a key is shared by readers.
//
// While a key has readers, the lock key holds a marker instead of a holder's value,
// and expires with the last of them. Whoever acquires the key exclusively, in
// whatever way, finds it held. A set beside it has the readers' values.
//
// A reader needs a quorum, as a writer does, so the two share a node, which grants
// the key to one of them only. Its token is the largest counter of its quorum; it
// draws none. It raises a quorum to that: a writer that failed may have raised the
// counter of one node, which the reader sees, and the next writer may not. So its
// token is at least that of every writer that finished before it began, and below
// that of every writer that begins when it has the key. search_shared_test.go
// searches this.
//
// A reader stands in the queue as <process>/shared, and its process listens there.
// Earlier versions take that for a process of its own: they wake it, mark it and
// pass it over as any other. A set of its own would be one more key for each script,
// and would be stale where they leave.

// sharedMark is what the lock key of a key with readers holds.
const sharedMark = "shared"

// livesFor is how long a process that waits for readers to leave is taken to live
// on a Redis Cluster, where nothing shows whether it does: twice the longest pause
// between two looks, with the default of Config.Backoff. See also Redlock.Pauses.
const livesFor = 5 * time.Second

//go:embed scripts/readers.lua
var readersSource string

//go:embed scripts/share.lua
var shareSource string

//go:embed scripts/shareextend.lua
var shareExtendSource string

//go:embed scripts/sharebump.lua
var shareBumpSource string

//go:embed scripts/sharerelease.lua
var shareReleaseSource string

//go:embed scripts/announce.lua
var announceSource string

var (
	shareScript        = nodeset.NewScript("share", drawSource+wakeSource+readersSource+shareSource)
	shareExtendScript  = nodeset.NewScript("extend shared", wakeSource+readersSource+shareExtendSource)
	shareBumpScript    = nodeset.NewScript("bump fence of shared", readersSource+shareBumpSource)
	shareReleaseScript = nodeset.NewScript("release shared", wakeSource+readersSource+shareReleaseSource)
	announceScript     = nodeset.NewScript("announce", readersSource+announceSource)
)

// sharedNames are the Redis keys of a lock that readers use, in the order in which
// the scripts take them.
func sharedNames(lock string) [5]string {
	n := namesOf(lock)
	return [5]string{n[0], n[1], n[2], n[3], Companion(lock, "readers")}
}

// Shared reports whether the hold is a reader's.
func (h *Hold) Shared() bool { return h.shared.Load() }

// shareCommand is acquireCommand for a reader.
func (h *Hold) shareCommand(start time.Time) nodeset.Command {
	keys, words := sharedNames(h.lock), &h.r.words
	return shareScript.Command(keys[:], &h.value, h.r.keptFor(h.ttl), words.process+readerPlace, start.UnixMicro(), words.process,
		&words.retention, &words.maxTTL, 0, "")
}

// readerPlace follows the process id of a reader in the queue.
const readerPlace = nodeset.SharedChannel

// queueWord is the last argument of a script that acquires the key on n.
func (h *Hold) queueWord(n *nodeset.Node) string {
	queues := h.queue && n.Listening()
	switch {
	case !h.Shared():
		return oneIf(queues)
	case queues && n.Sharded():
		return "qc"
	case queues:
		return "q"
	case n.Sharded():
		return "c"
	}
	return ""
}

// announceOn has the processes that read the key learn that this one waits for them
// to leave.
func (h *Hold) announceOn(n *nodeset.Node) {
	lives := time.Duration(0)
	if n.Sharded() {
		lives = livesFor
	}
	h.r.announce(n, h.lock, lives)
}

func (r *Redlock) announce(n *nodeset.Node, lock string, lives time.Duration) {
	keys := sharedNames(lock)
	n.Run(announceScript, []string{keys[0], keys[4]}, []any{r.words.process, millis(lives)}, nil)
}

// Pauses is called by a process that waits to write, and looks at the key again after
// a pause. On a Redis Cluster, where nothing else shows that it lives, readers do not
// pass it until then.
func (r *Redlock) Pauses(lock string, pause time.Duration) {
	if 2*pause <= livesFor {
		return // an attempt has said so
	}
	for _, n := range r.c.Nodes() {
		if n.Sharded() && n.Listening() {
			r.announce(n, lock, 2*pause)
		}
	}
}

// sendShareBump is a bump of a reader.
func (h *Hold) sendShareBump(n *nodeset.Node, token, reported int64) {
	keys := sharedNames(h.lock)
	n.Run(shareBumpScript, []string{keys[0], keys[1], keys[4]}, []any{h.value, token, &h.r.words.retention, reported}, (*bumper)(h))
}

func (h *Hold) shareExtendCommand(ttl time.Duration) nodeset.Command {
	keys := sharedNames(h.lock)
	return shareExtendScript.Command([]string{keys[0], keys[2], keys[4]}, &h.value, h.r.keptFor(ttl), "")
}

// LeaveShared is LeaveLock for readers.
func (r *Redlock) LeaveShared(lock string) {
	r.leave(lock, r.c.Nodes(), true, false, &r.words.handOver)
}

// WritersWait reports whether a process waits to write, as the last round of
// renewal found.
func (h *Hold) WritersWait() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.writers
}

// EndWriting makes a holder a reader, as far as this process goes, with the last
// token of its block, which it returns. It writes no more, whatever comes of it: the
// nodes follow with ShareNow, or the next renewal.
func (h *Hold) EndWriting() (token int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.token, h.tokens = h.token+h.tokens, 0
	h.shared.Store(true)
	return h.token
}

// ShareNow has the nodes share the key of a holder that EndWriting has made a
// reader. It is a round of renewal, and the error is that of ExtendNow. A node that
// has not answered a renewal is asked when it has: one that came after would find a
// reader, and leave this process to think that the key is another's there.
func (h *Hold) ShareNow(ctx context.Context) error {
	ttl := h.TTL()
	return h.roundNow(ctx, "downgrade", ttl, func(e *extension) (begun bool) {
		cmd := h.shareExtendCommand(ttl)
		e.askLate = func(n *nodeset.Node) { n.Send(releaseOn(n, cmd), e) }
		ask, begun := h.begin(e, false)
		for _, n := range ask {
			e.askLate(n)
		}
		return begun
	})
}

// readShare is readGrant for a reader: a grant has one more word.
func readShare(reply any, err error) (granted bool, g grant, _ error) {
	words, _ := reply.([]any)
	queued := any(int64(0))
	if len(words) == 4 {
		reply, queued = words[:3], words[3]
	}
	granted, g, err = readGrant(reply, err, 1)
	g.queued = granted && queued == any(int64(1))
	if err == nil && (granted != (len(words) == 4) || !g.queued && queued != any(int64(0))) {
		return false, grant{}, badReply("acquire", reply)
	}
	return granted, g, err
}

// readShareExtension reads a reply of the script that renews a reader.
func readShareExtension(reply any, err error) (r Result, holder string, writers bool, _ error) {
	words, _ := reply.([]any)
	if err != nil || len(words) != 2 || words[0] == any(int64(0)) {
		r, holder, err = readExtension(reply, err)
		return r, holder, false, err
	}
	r = Granted
	if words[0] == any(int64(2)) {
		r = Healed
	}
	writes, ok := words[1].(int64)
	if !ok || r == Granted && words[0] != any(int64(1)) || writes < 0 || writes > 1 {
		return Failed, "", false, badReply("extend", reply)
	}
	return r, "", writes == 1, nil
}

// Reader is one of the processes that share a key.
type Reader struct {
	Holder
	Left time.Duration // until it expires, unless it is renewed
}

// readReaders reads the readers in a reply of the inspect script: values, each
// followed by the ms that are left.
func readReaders(words []any) (all []Reader) {
	for i := 0; i+1 < len(words); i += 2 {
		value, ok1 := words[i].(string)
		left, ok2 := words[i+1].(int64)
		if ok1 && ok2 && left >= 0 && strings.Contains(value, "/") {
			by := readValue(value)
			by.MayRetain = false // a key that a Downgrade has shared keeps the value, but is never retained
			all = append(all, Reader{by, timeLeft(left)})
		}
	}
	return all
}

// judgeReaders fills in the readers. silent nodes may name any of them.
func (i *Inspection) judgeReaders(silent int) {
	if i.Holder.Writer != WriterShared {
		return
	}
	names, left := map[Holder]int{}, map[Holder]time.Duration{}
	for _, v := range i.Views {
		i.MoreReaders = i.MoreReaders || len(v.values) >= namedReaders
		for _, r := range v.readers {
			names[r.Holder]++
			left[r.Holder] = max(left[r.Holder], r.Left)
		}
	}
	for by, n := range names {
		if n+silent >= i.Need || i.State == Partial {
			i.Readers = append(i.Readers, Reader{by, left[by]})
		}
	}
	slices.SortFunc(i.Readers, func(a, b Reader) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Process, b.Process))
	})
}

// namedReaders is how many readers the inspect script names at most.
const namedReaders = 64

// readersSeen are the words with which a script that takes the key from the holder
// that was seen takes it from readers: the values of those that were, or none if
// there may be more than a node names. Then it is taken from all. An empty word
// stands for no reader: where none was named, those that read now have come since.
func (i *Inspection) readersSeen() (words []any) {
	if i.value != sharedMark {
		return nil
	}
	if i.MoreReaders {
		return nil
	}
	seen := map[string]bool{}
	for _, v := range i.Views {
		for _, value := range v.values {
			if !seen[value] {
				seen[value] = true
				words = append(words, value)
			}
		}
	}
	if words == nil {
		return []any{""}
	}
	return words
}
