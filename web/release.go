package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/present"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/lock"
)

const (
	// maxForm is the largest form, in bytes: a key can be as long as
	// quorumlock.MaxKeyLen, is typed as it is shown, and each byte of that can
	// take six. A key with a limit has as many holders that were seen.
	maxForm = 8*quorumlock.MaxKeyLen + 32*lock.MaxLimit
	// maxReason is the longest reason, in characters.
	maxReason = 500
)

// order is a release by force that a person asks for.
type order struct {
	key    string
	seen   string // what the person saw, as seenOf names it
	reason string
	now    bool // others can acquire the lock at once
	who    string
}

// result is the outcome of a release by force.
type result struct {
	Key      string     `json:"key"`
	From     *holderDoc `json:"from"`
	By       string     `json:"by"`
	Reason   string     `json:"reason"`
	FreeInMs float64    `json:"free_in_ms"`
}

// seenOf names the holder of a lock as it was seen, or its readers, or the holders
// of its slots, so that a lock that has changed hands since is not released.
func seenOf(i lock.Inspection) string {
	var all []string
	for _, s := range i.Slots {
		all = append(all, seenSlot(s))
	}
	for _, r := range i.Readers {
		all = append(all, seenHolder(r.Holder))
	}
	switch {
	case i.Holder.Writer == lock.NoWriter:
		return ""
	case len(all) > 0:
		return strings.Join(all, ",")
	}
	return seenHolder(i.Holder)
}

func seenHolder(h lock.Holder) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d|%q|%q|%d|%q|%d", h.Writer, h.Process, h.Host, h.PID, h.Name, h.Since.UnixMicro()))
	return hex.EncodeToString(sum[:8])
}

func seenSlot(s lock.Slot) string { return strconv.Itoa(s.Number) + ":" + seenHolder(s.Holder) }

// take returns the lock with those of its holders that the person saw, and false
// if it has changed hands since: it has another holder, none of the slots has the
// one that it had, or another reader has come.
func (o order) take(i lock.Inspection) (lock.Inspection, bool) {
	seen := strings.Split(o.seen, ",")
	switch {
	case i.Limit > 0:
		i.Slots = slices.DeleteFunc(slices.Clone(i.Slots), func(s lock.Slot) bool { return !slices.Contains(seen, seenSlot(s)) })
		return i, len(i.Slots) > 0
	case i.Holder.Writer == lock.WriterShared:
		came := slices.ContainsFunc(i.Readers, func(r quorumlock.Reader) bool { return !slices.Contains(seen, seenHolder(r.Holder)) })
		return i, !came
	}
	return i, seenOf(i) == o.seen
}

// authorize says whether a request may release locks, and for whom.
func (h *Handler) authorize(r *http.Request) (who string, ok bool) {
	if h.cfg.Authorize == nil {
		return "", false
	}
	return h.cfg.Authorize(r)
}

// release takes a lock away from its holder.
func (h *Handler) release(w http.ResponseWriter, r *http.Request) {
	if err := h.sameOrigin.Check(r); err != nil {
		h.fail(w, r, &fault{http.StatusForbidden, "The request comes from another site. Use the form on the page of the lock."})
		return
	}
	who, ok := h.authorize(r)
	if !ok {
		h.fail(w, r, &fault{http.StatusForbidden, "You may not release locks: these pages are read-only for you."})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	o, err := orderOf(r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	o.who = who
	res, err := h.execute(r, o)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if wants(r) == jsonFormat {
		writeJSON(w, http.StatusOK, res)
		return
	}
	// Not http.Redirect: it would resolve the link without the prefix that the
	// handler is mounted under.
	w.Header().Set("Location", lockLink(o.key))
	w.WriteHeader(http.StatusSeeOther)
}

// orderOf reads the key, which is in the address, and the form.
func orderOf(r *http.Request) (o order, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return o, bad("the query cannot be read: %v", err)
	}
	if o.key, err = keyOf(query); err != nil {
		return o, err
	}
	if err := r.ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return o, &fault{http.StatusRequestEntityTooLarge, fmt.Sprintf("The form is too large; at most %d bytes.", large.Limit)}
		}
		return o, bad("the form cannot be read: %v", err)
	}
	form := r.PostForm
	o.seen, o.reason = form.Get("seen"), strings.TrimSpace(form.Get("reason"))
	switch typed := form.Get("confirm"); {
	case o.seen == "":
		return o, bad("seen: is missing; send what the page of the lock names")
	case typed != o.key && typed != present.Line(o.key):
		return o, bad("confirm: is not the key; nothing was changed. Type the key of the lock to confirm")
	case o.reason == "":
		return o, bad("reason: is missing; nothing was changed. Say why, for the audit line")
	case utf8.RuneCountInString(o.reason) > maxReason:
		return o, bad("reason: longer than %d characters; nothing was changed", maxReason)
	}
	switch delay := form.Get("delay"); delay {
	case "", "ttl":
	case "none":
		o.now = true
	default:
		return o, bad("delay %q: is neither ttl nor none", present.Line(delay))
	}
	return o, nil
}

// execute releases the lock if its holder is the one that the person saw, and
// writes the audit line.
func (h *Handler) execute(r *http.Request, o order) (res result, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), releaseTimeouts*h.nodeTimeout)
	defer cancel()
	i, err := h.src.Inspect(ctx, o.key)
	if err != nil {
		return res, faultOf(err)
	}
	if i.Holder.Writer == lock.NoWriter {
		return res, &fault{http.StatusConflict, "The lock is already free; nothing was changed."}
	}
	i, same := o.take(i)
	if !same {
		return res, &fault{http.StatusConflict, "The lock has changed hands since you saw it; nothing was changed. Look at it again."}
	}
	freeIn := time.Duration(0)
	if o.now {
		err = h.src.ForceReleaseNow(ctx, i)
	} else {
		freeIn, err = h.src.ForceRelease(ctx, i, o.who)
	}
	h.details.drop(o.key)
	h.audit(r, o, i.Holder, freeIn, err)
	h.survey.remark()
	if err != nil {
		return res, faultOf(err)
	}
	return result{o.key, holderOf(i.Holder), o.who, o.reason, present.Ms(freeIn)}, nil
}

// releaseTimeouts bounds a release, in NodeTimeouts: a node that is silent costs
// one in each pass.
const releaseTimeouts = 12

// audit writes the line about a release into the log and into the pages.
func (h *Handler) audit(r *http.Request, o order, from lock.Holder, freeIn time.Duration, err error) {
	fields := []any{"key", present.Line(o.key), "by", present.Line(o.who), "reason", present.Line(o.reason), "from", present.Line(from.String()), "remote", r.RemoteAddr}
	if err != nil {
		h.cfg.Logger.Warn("redlock web: a release by force failed", append(fields, "error", present.Error(err))...)
		h.survey.journal.add(event{At: time.Now(), Key: o.key, Kind: forced,
			Text: fmt.Sprintf("by %s failed: %s. Reason: %s", o.who, present.Error(err), o.reason)})
		return
	}
	h.cfg.Logger.Warn("redlock web: a lock was released by force", append(fields, "free_in", freeIn)...)
	when := "others can acquire it at once"
	if !o.now {
		when = fmt.Sprintf("others can acquire it within %s", span(freeIn))
	}
	h.survey.journal.add(event{At: time.Now(), Key: o.key, Kind: forced,
		Text: fmt.Sprintf("by %s, from %s: %s; %s", o.who, from, o.reason, when)})
}

// faultOf is the answer for an error of the library.
func faultOf(err error) *fault {
	switch {
	case errors.Is(err, cluster.ErrConfig):
		return bad("%v", err)
	case errors.Is(err, lock.ErrNotHeld), errors.Is(err, lock.ErrMayBeAcquired):
		return &fault{http.StatusConflict, sentence(err)}
	case errors.Is(err, cluster.ErrNoQuorum), errors.Is(err, context.DeadlineExceeded):
		return &fault{http.StatusServiceUnavailable, sentence(err)}
	}
	return &fault{http.StatusInternalServerError, sentence(err)}
}

// sentence is the text of an error as a sentence.
func sentence(err error) string {
	text := present.Error(err)
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
