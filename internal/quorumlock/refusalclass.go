package quorumlock

import (
	"context"
	"errors"

	"github.com/venta-hq/redlock/internal/nodeset"
)

// RefusalClass names the kind of an error of an acquiring call in a word, for metrics: "" for nil, and
//
//	held       somebody else has the key
//	split      several attempts each hold it on some nodes
//	late       the answers came when its time was over, or it expired before its token was settled
//	timeout    the context's deadline passed first
//	canceled   the context was cancelled
//	no_quorum  too few nodes answered
//	lost       it was lost before it was given out
//	closed     after Close
//	config     the request cannot be used
//	_OTHER     anything else
func RefusalClass(err error) string {
	var held *NotAcquiredError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &held): // before the others: its nodes may have failed in many ways
		return held.class()
	case errors.Is(err, ErrLost):
		return "lost"
	case errors.Is(err, nodeset.ErrNoQuorum):
		return "no_quorum"
	case errors.Is(err, nodeset.ErrClosed):
		return "closed"
	case errors.Is(err, nodeset.ErrConfig):
		return "config"
	}
	return ended(err)
}

func (e *NotAcquiredError) class() string {
	switch {
	case e.Err != nil:
		return ended(e.Err)
	case e.Split && e.Class != ClassTimeout:
		return "split"
	case e.Class != "":
		return string(e.Class)
	}
	return string(ClassHeld)
}

// ended is the class of a context's error.
func ended(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "_OTHER"
}
