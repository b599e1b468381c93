package quorumlock

import "time"

// Mode says how a key is held, or why it is kept while nobody works under it.
type Mode string

const (
	NoMode        Mode = ""          // nobody holds or keeps the key
	ModeExclusive Mode = "exclusive" // one holder
	ModeShared    Mode = "shared"    // readers
	ModeLimit     Mode = "limit"     // holders of slots
	ModeDetached  Mode = "detached"  // its holder has detached it, and no process has attached it yet
	ModeRetained  Mode = "retained"  // its holder has released it, and the process keeps it for its next caller
	ModeForced    Mode = "forced"    // it was taken away by force, and comes free when its holder's TTL is over
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

// Mode says how the key is held, or why it is kept while nobody works under it. It
// is that of the holder that most nodes name, also where that has no quorum.
func (i Inspection) Mode() Mode {
	if i.Retained {
		return ModeRetained
	}
	return i.Holder.mode()
}

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
