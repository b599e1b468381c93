package fence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/venta-hq/redlock/internal/errs"
)

// Handler is [Checks.Handler] with the defaults: every request must have a
// token.
func Handler(s Store, next http.Handler) http.Handler { return Checks{}.Handler(s, next) }

// Checks configures how a handler checks the fencing tokens of requests.
type Checks struct {
	// Keys returns the keys of the locks that protect what a request writes or
	// reads, such as "order:" + r.PathValue("id"). The request must have a token
	// of each, and only those are checked. Default nil: all tokens of the
	// request, at least one. A client that holds another lock passes then, so
	// set Keys unless all clients are correct. Of several tokens one suffices
	// that is not of a shared lock: [Check] in the handler refuses a shared one
	// of the key that it writes.
	Keys func(*http.Request) []string

	// Optional lets requests without Header pass, such as those that only read
	// and need no lock. Requests with the header are checked.
	Optional bool

	// Failed is called with the error of a store that could not check a token.
	// Default nil: the error is dropped, and the client receives 503.
	Failed func(*http.Request, error)
}

// Handler checks the tokens of each request in s before next serves it, and
// puts them into its context, where [Check] uses them as with [WithToken], and
// [CheckRead] as with [WithReadToken]. A refused request receives a problem
// document (RFC 9457) with status
//
//	400   the Header cannot be read
//	403   all tokens are of shared locks, and the method is not GET or HEAD: a reader must not write
//	412   a newer token was seen, or a reader's that is as new: the lock has passed on; see StaleResponse
//	428   there is no token, or none of a key of Keys
//	503   the store could not check the token
//
// Tokens are checked one after another; those that passed before one is
// refused remain recorded.
//
// A token of a shared lock is checked as a reader's, also if the request writes
// under another lock. It needs a store that is a [ReadStore]; another one cannot
// check it. Every other token is checked as a writer's, also that of a GET. So
// is a reader's token from a program that does not know readers, which sends it
// without the word shared: it is refused once a newer program has read with the
// same token. Update the servers first, then all clients that read the key.
//
// The check and the writes made by next are separate steps. Where a newer
// holder's request may come in between, let next check again in the transaction
// that writes. Tokens are trusted: a client can lock others out with a token
// that is too large, so authenticate clients first.
func (c Checks) Handler(s Store, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens, p := c.read(r)
		if p == nil {
			p = c.check(s, r, tokens)
		}
		if p != nil {
			p.write(w)
			return
		}
		next.ServeHTTP(w, r.WithContext(with(r.Context(), tokens...)))
	})
}

// read returns the tokens of a request to check, or the problem with them.
func (c Checks) read(r *http.Request) ([]Token, *problem) {
	lines := r.Header.Values(Header)
	if len(lines) == 0 && c.Optional {
		return nil, nil
	}
	brought, err := ParseTokens(lines...)
	switch {
	case err != nil:
		return nil, &problem{Status: http.StatusBadRequest, Title: "Malformed fencing token", Detail: errs.Text(err)}
	case len(brought) == 0:
		return nil, &problem{Status: http.StatusPreconditionRequired, Title: "Fencing token required",
			Detail: "the request needs a header " + Header + ": KEY;TOKEN of the lock under which it is sent"}
	case c.Keys == nil:
		return brought, nil
	}
	return c.wanted(r, brought)
}

// wanted returns those of the request's tokens that it must have.
func (c Checks) wanted(r *http.Request, brought []Token) (tokens []Token, p *problem) {
	ofKey := map[string]Token{}
	for _, t := range brought {
		ofKey[t.Key] = t
	}
	for _, key := range c.Keys(r) {
		t, ok := ofKey[key]
		if !ok {
			return nil, &problem{Status: http.StatusPreconditionRequired, Title: "Fencing token required", Key: escape(key),
				Detail: "the header " + Header + " has no token of the key that protects what the request writes or reads"}
		}
		tokens = append(tokens, t)
	}
	return tokens, nil
}

func (c Checks) check(s Store, r *http.Request, tokens []Token) *problem {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !reads && len(tokens) > 0 && !slices.ContainsFunc(tokens, func(t Token) bool { return !t.Shared }) {
		return &problem{Status: http.StatusForbidden, Title: "Fencing token of a reader", Key: escape(tokens[0].Key),
			Detail: "every lock on what the request writes is shared, so only a " + http.MethodGet + " or " + http.MethodHead +
				" may be sent under it; lock the key that it writes without Shared"}
	}
	for _, t := range tokens {
		err := t.checkIn(r.Context(), s)
		var stale *StaleError
		switch {
		case errors.As(err, &stale):
			return &problem{Type: staleType, Status: http.StatusPreconditionFailed, Title: "Stale fencing token",
				Detail: "a newer holder of the lock was here" + orDowngraded(stale.Reader) + ", so nothing was done", Key: escape(stale.Key), Token: stale.Token, Newest: stale.Newest, Reader: stale.Reader}
		case err != nil:
			if c.Failed != nil {
				c.Failed(r, err)
			}
			return &problem{Status: http.StatusServiceUnavailable, Title: "Fencing token not checked",
				Detail: "the store of fencing tokens could not be asked, so nothing was done"}
		}
	}
	return nil
}

// checkIn checks t in a store that may not know readers.
func (t Token) checkIn(ctx context.Context, s Store) error {
	if !t.Shared {
		return s.CheckToken(ctx, t.Key, t.Number)
	}
	readers, ok := s.(ReadStore)
	if !ok {
		return fmt.Errorf("redlock: fence: %q: the token is of a shared lock, and %T has no method CheckReadToken; see ReadStore", t.Key, s)
	}
	return readers.CheckReadToken(ctx, t.Key, t.Number)
}

const (
	problemType = "application/problem+json"
	staleType   = "urn:redlock:stale-fencing-token"
)

// problem is a document of RFC 9457. A Key is written as in the Header: it may
// hold bytes that JSON cannot.
type problem struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Key    string `json:"key,omitempty"`
	Token  int64  `json:"token,omitempty"`
	Newest int64  `json:"newest,omitempty"`
	Reader bool   `json:"reader,omitempty"`
}

func (p *problem) write(w http.ResponseWriter) {
	doc, _ := json.Marshal(p) // strings and numbers cannot fail
	w.Header().Set("Content-Type", problemType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(doc, '\n')) // a client that is gone learns nothing
}

// maxProblem is how much of a response is read to find a problem document: more
// than one with the longest key there is.
const maxProblem = 64 << 10

// StaleResponse returns the *StaleError of a request that a [Handler] refused
// because of its token, and nil for any other response. The body of resp can
// still be read.
func StaleResponse(resp *http.Response) error {
	if resp.StatusCode != http.StatusPreconditionFailed || resp.Header.Get("Content-Type") != problemType {
		return nil
	}
	doc, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	resp.Body = &again{io.MultiReader(bytes.NewReader(doc), resp.Body), resp.Body}
	var p problem
	if err != nil || json.Unmarshal(doc, &p) != nil || p.Type != staleType {
		return nil
	}
	key, err := unescape(p.Key)
	if err != nil {
		return nil
	}
	return &StaleError{Key: key, Token: p.Token, Newest: p.Newest, Reader: p.Reader}
}

// again is a body of which a part was read.
type again struct {
	io.Reader
	io.Closer
}
