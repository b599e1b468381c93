package quorumlock

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// How a key that is held moves to another process.
//
// Its holder detaches it: a round of renewal that replaces the holder's value
// by that of a handle. A process that has the handle attaches: it acquires the
// key, which is granted where it has the handle's value instead of where it is
// free. All else, also the token, is as in any acquisition.
//
// Nobody else holds the key in between. Where the key expires early, or another
// process acquires and loses it, the handle's value is gone. Only a detach can
// set it again, for renewals set the holder's value. A copy of the detach may
// arrive as late as it likes, behind a late renewal, which set the holder's
// value again. A detach is therefore accepted only where the fence counter is
// below a limit, and lifts it to the limit. Once a quorum has answered, every
// later acquisition gets a token above the limit, and a quorum of counters with
// it. A late detach is refused there, and the nodes where it sets a handle's
// value are too few to attach. search_moving_test.go searches this.
//
// The counter is not compared when the key is attached: a look by transaction
// that was refused has raised it, too.
//
// An attempt to attach that fails returns to the handle what it was granted,
// for as long as the handle is valid: only this attempt had replaced its value.
// Where it was a node or two
// beside an attempt that succeeded, they have that value until its TTL is over.

// ErrDetached is the cause of the context of a lease that was detached.
var ErrDetached = errors.New("redlock: detached")

// Handle is what it takes to attach a key that was detached.
type Handle struct {
	Lock  string    // the key on the nodes
	Value string    // the value of Lock on the nodes
	Until time.Time // when the nodes begin to lose it, by the clock of the process that detached it
}

// handlePrefix begins the text of every handle.
const handlePrefix = "redlock1."

// handleText is a Handle as JSON: keys need not be UTF-8.
type handleText struct {
	Lock, Value []byte
	Until       time.Time
}

// String is the handle as text without spaces.
func (d Handle) String() string {
	text, _ := json.Marshal(handleText{[]byte(d.Lock), []byte(d.Value), d.Until.UTC().Round(time.Millisecond)}) // cannot fail
	return handlePrefix + base64.RawURLEncoding.EncodeToString(text)
}

// ParseHandle reads a handle. The error does not repeat it: a process that
// knows it can attach the key.
func ParseHandle(text string) (Handle, error) {
	var d handleText
	rest, ok := strings.CutPrefix(text, handlePrefix)
	raw, err := base64.RawURLEncoding.DecodeString(rest)
	if !ok || err != nil || json.Unmarshal(raw, &d) != nil || readValue(string(d.Value)).Writer != WriterDetached {
		return Handle{}, configerr.Field("handle", "%d bytes that are not what Lease.Detach has returned; pass on all of that, unchanged", len(text))
	}
	return Handle{string(d.Lock), string(d.Value), d.Until}, nil
}

const (
	// detachRounds is how often a detach is sent with a larger limit, when
	// others have raised the counter meanwhile.
	detachRounds = 3
	// limitAhead is how far a limit is above the counter, for what others draw
	// on the way. Counters must not outrun the clock, so it is small, and this
	// process's clock has no part in it.
	limitAhead = 256
)

// Detach replaces the hold's value by that of a handle, with the TTL of the
// hold. It needs a quorum and waits for every node, because one that is late
// would refuse an attempt to attach. Either way the hold is over: if Detach
// fails, the key is released. The error is that of ExtendNow.
func (h *Hold) Detach(ctx context.Context) (Handle, error) {
	h.mu.Lock()
	h.detaching = true
	above, ttl := h.token+h.tokens, h.ttl
	h.mu.Unlock()
	process, rest, _ := strings.Cut(h.value, "/")
	value, keys := process+"/"+detached+rest, namesOf(h.lock)
	floor := time.Now().UnixMicro() // the same in each round: a counter that was lost starts from it
	var err error
	for round := 0; round < detachRounds; round++ {
		d := &detaching{answered: make(chan struct{}), limit: above + limitAhead}
		cmd := detachScript.Command(keys[:2], &h.value, h.r.keptFor(ttl), &value, floor, d.limit, &h.r.words.retention, &h.r.words.maxTTL, 0)
		err = h.roundNow(ctx, "detach", ttl, func(e *extension) (begun bool) {
			d.extension = e
			ask, begun := h.begin(e, true)
			d.awaited = len(ask)
			for _, n := range ask {
				n.Send(cmd.With(n.FenceFloor()), d)
			}
			return begun
		})
		if err == nil {
			select {
			case <-d.answered:
			case <-ctx.Done():
			}
		}
		h.mu.Lock()
		if err == nil {
			h.phase = phaseReleased
			defer h.mu.Unlock()
			return Handle{h.lock, value, h.deadline.Add(h.r.delay)}, nil
		}
		above = d.above
		h.mu.Unlock()
		if above < d.limit || !errors.Is(err, nodeset.ErrNoQuorum) {
			break
		}
	}
	h.SendAfterRelease(releaseScript.Command(keys[:], &value, &h.r.words.handOver, "1")) // on any node as on a Redis Cluster
	h.StartRelease()
	return Handle{}, err
}

// detaching is a round of renewal that detaches.
type detaching struct {
	*extension
	answered chan struct{} // closed when every node has
	limit    int64

	// Guarded by h.mu.
	awaited int   // answers
	above   int64 // the largest counter that was not below the limit
}

// errRaised is the answer of a node that did not detach because of its counter.
var errRaised = errors.New("its fence counter of this key was raised in the meantime")

func (d *detaching) Receive(n *nodeset.Node, reply any, err error) {
	if words, ok := reply.([]any); err == nil && ok && len(words) == 2 && words[0] == any(int64(2)) {
		fence, _ := words[1].(int64)
		if err = d.h.checkFence(n, fence); err == nil {
			err = errRaised
			d.h.mu.Lock()
			d.above = max(d.above, fence)
			d.h.mu.Unlock()
		}
	}
	d.extension.Receive(n, reply, err)
	d.h.mu.Lock()
	defer d.h.mu.Unlock()
	if d.awaited--; d.awaited == 0 {
		close(d.answered)
	}
}
