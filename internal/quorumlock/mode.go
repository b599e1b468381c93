package quorumlock

import (
	"slices"
	"time"
)

// Mode says how a key is held, or why it is kept without being held.
type Mode string

const (
	NoMode        Mode = ""          // nobody holds or keeps the key
	ModeExclusive Mode = "exclusive" // one holder
	ModeShared    Mode = "shared"    // readers
	ModeLimit     Mode = "limit"     // holders of slots
	ModeDetached  Mode = "detached"  // its holder has detached it, and no process has attached it yet
	ModeRetained  Mode = "retained"  // its holder has released it, and the process keeps it for its next caller
	ModeForced    Mode = "forced"    // it was taken away by force, and comes free when its former holder's TTL is over; until then that may work under it
)

// mode is the mode of a key with this holder, as far as its value says.
func (h Holder) mode() Mode {
	switch h.Writer {
	case NoWriter:
		return NoMode
	case WriterShared:
		return ModeShared
	case WriterLimit:
		return ModeLimit
	case WriterDetached:
		return ModeDetached
	case WriterForced:
		return ModeForced
	}
	return ModeExclusive
}

// Mode says how the key is held, or why it is kept. It is that of the holder that
// most nodes name, also where that has no quorum. A key with a limit is forced if
// every slot that is taken is.
func (i Inspection) Mode() Mode {
	switch {
	case i.Retained:
		return ModeRetained
	case len(i.Slots) > 0 && !slices.ContainsFunc(i.Slots, func(s Slot) bool { return !s.Forced() }):
		return ModeForced
	}
	return i.Holder.mode()
}

// Forced reports whether the slot was taken away from its holder by force. It comes
// free when the TTL of that is over.
func (s Slot) Forced() bool { return s.Holder.Writer == WriterForced }

// Since is when the acquisition of the holder began, or of the first of those that
// hold the key together, each by its own clock; the zero time if it is not known.
func (i Inspection) Since() time.Time {
	first := i.Holder.Since
	earlier := func(h Holder) {
		if !h.Since.IsZero() && (first.IsZero() || h.Since.Before(first)) {
			first = h.Since
		}
	}
	for _, r := range i.Readers {
		earlier(r.Holder)
	}
	for _, s := range i.Slots {
		earlier(s.Holder)
	}
	return first
}

// IsNamedBy reports whether h is the holder that most nodes name.
func (h *Hold) IsNamedBy(i Inspection) bool { return h.value == i.value }

// Mode is how the request asks for the key.
func (req Request) Mode() Mode {
	switch {
	case req.Limit > 0:
		return ModeLimit
	case req.Shared:
		return ModeShared
	}
	return ModeExclusive
}

// Mode is how h holds its key.
func (h *Hold) Mode() Mode {
	switch {
	case h.Limit() > 0:
		return ModeLimit
	case h.Shared():
		return ModeShared
	}
	return ModeExclusive
}
