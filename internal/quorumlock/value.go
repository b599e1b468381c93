package quorumlock

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A value is <process>/<nonce>/<host>:<pid>, followed by /<name> where Config.Owner or Request.Owner gives one. The nonce
// is when the attempt began, in µs of its client's clock, in base 36; no two attempts of a process have the same. It has a
// plus sign if the process may retain the key after its holder has released it. A lock that was taken away by force carries
// forced instead of a nonce until its holder's TTL is over. A lock that was detached has a tilde before its nonce.

// processLen is the length of a process id.
const processLen = 26

// forced stands in a value for the nonce, which is never so. detached stands before it, and before its plus sign.
const (
	forced   = "-"
	detached = "~"
)

// whereabouts is the host and the process.
var whereabouts = sync.OnceValue(func() string {
	host, _ := os.Hostname()
	return strings.ReplaceAll(strings.ToValidUTF8(fmt.Sprintf("%.100s:%d", host, os.Getpid()), "?"), "/", "_")
})

// newest is the last nonce of all Redlocks: several of them share a Cluster and so a process id, and a value that was
// used twice would be granted a key that it has already.
var newest atomic.Int64

func nonce(now time.Time) int64 {
	for {
		last := newest.Load()
		next := max(last+1, now.UnixMicro())
		if newest.CompareAndSwap(last, next) {
			return next
		}
	}
}

// newValue is the identity of one attempt.
func (r *Redlock) newValue(owner string, retains bool) string {
	id := strconv.FormatInt(nonce(time.Now()), 36)
	if retains {
		id = retainSign + id
	}
	return r.value(id, owner)
}

// retainSign begins the nonce of a value whose process may retain the key. Earlier
// versions read the nonce as a number, with the sign or without.
const retainSign = "+"

// retains reports whether the process that wrote value may retain the key.
func retains(value string) bool {
	process, rest, ok := strings.Cut(value, "/")
	return ok && len(process) == processLen && strings.HasPrefix(rest, retainSign)
}

func (r *Redlock) value(nonce, owner string) string {
	v := r.c.Process() + "/" + nonce + "/" + whereabouts()
	if owner != whereabouts() {
		v += "/" + owner
	}
	return v
}

// Writer is the kind of program that has written a value.
type Writer uint8

const (
	NoWriter       Writer = iota // there is no value
	WriterRedlock                // this library, any process of it
	WriterForced                 // this library: the lock was taken away by force, and comes free when its holder's TTL is over
	WriterRedsync                // a redsync, on the same nodes by itself or through mutex.Redsync
	WriterForeign                // something else, a forger among them
	WriterDetached               // this library: the lock was detached from its holder, and can be attached until its TTL is over
	WriterLimit                  // this library: several hold the key at once
	WriterShared                 // this library: readers hold it, each with a value of its own
)

func (w Writer) String() string {
	return [...]string{"nobody", "redlock", "forced", "redsync", "foreign", "detached", "limit", "shared"}[w]
}

// Holder describes the writer of a value. Anyone who can write to the nodes can
// forge it. It does not contain enough to release the key.
type Holder struct {
	Writer  Writer
	Process string    // the first letters of the process id
	Host    string    // "" where it is not said
	PID     int       // 0 where it is not said
	Name    string    // the label given as Owner; "" if none was
	Since   time.Time // when the acquisition began, by the holder's clock, to the ms; zero: not said

	// MayRetain: the process may keep the key for its next caller when its holder has
	// released it. Whether it does that now, only the process knows.
	MayRetain bool
}

// String is for a person: the name if there is one, and where the process runs.
func (h Holder) String() string {
	where := h.Host
	if where != "" {
		where += ":" + strconv.Itoa(h.PID)
	}
	switch {
	case h.Writer == NoWriter:
		return "nobody"
	case h.Writer == WriterRedsync:
		return "redsync"
	case h.Writer == WriterForeign:
		return "another library"
	case h.Writer == WriterLimit:
		return h.Name
	case h.Writer == WriterShared:
		return "readers"
	case h.Writer == WriterForced && h.Name == "":
		return "released by force by " + where
	case h.Writer == WriterForced:
		return "released by force by " + h.Name + " (" + where + ")"
	}
	by := cmp.Or(h.Name, where)
	if h.Name != "" && where != "" {
		by += " (" + where + ")"
	}
	if h.Writer == WriterDetached {
		return "detached by " + by
	}
	return by
}

// shownProcess is how much of a process id is shown: enough to distinguish
// processes, too little to use it.
const shownProcess = 8

// sinceAtLeast is the earliest start that is accepted, 2020: older versions
// wrote a small number in its place.
const sinceAtLeast = 1_577_836_800_000_000

// readValue reads a value. What does not have the form of ours is another library's.
func readValue(value string) Holder {
	parts := strings.SplitN(value, "/", 3)
	switch n := limitOf(value); {
	case value == "":
		return Holder{}
	case n > 0:
		return Holder{Writer: WriterLimit, Name: fmt.Sprintf("holders of Limit(%d)", n)}
	case value == sharedMark:
		return Holder{Writer: WriterShared}
	case isRedsync(value):
		return Holder{Writer: WriterRedsync}
	case len(parts) < 3 || len(parts[0]) != processLen:
		return Holder{Writer: WriterForeign}
	}
	h := Holder{Writer: WriterRedlock, Process: parts[0][:shownProcess], Name: parts[2]}
	switch {
	case parts[1] == forced:
		h.Writer = WriterForced
	case strings.HasPrefix(parts[1], detached):
		h.Writer = WriterDetached
	default:
		h.MayRetain = retains(value)
	}
	if us, err := strconv.ParseInt(strings.TrimPrefix(parts[1], detached), 36, 53); err == nil && us >= sinceAtLeast {
		h.Since = time.UnixMicro(us).Truncate(time.Millisecond)
	}
	where, name, _ := strings.Cut(parts[2], "/")
	if colon := strings.LastIndexByte(where, ':'); colon > 0 {
		if pid, err := strconv.ParseUint(where[colon+1:], 10, 31); err == nil {
			h.Host, h.PID, h.Name = where[:colon], int(pid), name
		}
	}
	return h
}

// isRedsync reports whether value looks like one that redsync makes: 16 random bytes.
func isRedsync(value string) bool {
	raw, err := base64.StdEncoding.DecodeString(value)
	return err == nil && len(raw) == 16
}

// ownerLabel is the part of a value that an error may show.
func ownerLabel(value string) string {
	switch h := readValue(value); {
	case h.Writer == WriterForced || h.Writer == WriterDetached || h.Writer == WriterLimit || h.Writer == WriterShared:
		return h.String()
	case h.Writer != WriterRedlock:
		return "another library"
	case h.Name != "" || h.Host == "":
		return h.Name
	default:
		return h.String()
	}
}
