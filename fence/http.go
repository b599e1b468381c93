package fence

import (
	"context"
	"net/http"
	"strings"
)

// Header is the name of the HTTP header that carries fencing tokens, in the
// format of [Token.String], separated by commas.
const Header = "Fencing-Token"

// SetHeader sets [Header] to the tokens of these keys, or of the innermost lock
// if there are no keys. Keys that were locked in one call, as by WithLocks of a
// lock.Locker, are one lock, and so are the tokens that a [Handler] received with
// one request. The error matches [ErrNoToken] if ctx is under no lock on one of
// the keys.
func SetHeader(ctx context.Context, h http.Header, keys ...string) error {
	tokens := make([]Token, 0, len(keys))
	if len(keys) == 0 {
		if tokens = innermost(ctx); len(tokens) == 0 {
			return ErrNoToken
		}
	}
	for _, key := range keys {
		t, err := tokenOf(ctx, key)
		if err != nil {
			return err
		}
		tokens = append(tokens, t)
	}
	texts := make([]string, len(tokens))
	for i, t := range tokens {
		texts[i] = t.String()
	}
	h.Set(Header, strings.Join(texts, ", "))
	return nil
}

// RoundTripper is an [http.RoundTripper] that adds [Header] to requests, with
// the tokens of the locks that their contexts are under. A request that already
// has the header is sent unchanged.
type RoundTripper struct {
	// Base sends the requests. Default http.DefaultTransport.
	Base http.RoundTripper

	// Keys returns the keys whose tokens a request carries. A request is sent
	// only if its context is under a lock on each of them; otherwise its error
	// matches ErrNoToken. Default nil: the innermost lock, with all of its keys
	// as in SetHeader; a request under no lock is sent without the header. The
	// server learns the keys, also after a redirect to another host.
	Keys func(*http.Request) []string
}

// RoundTrip implements [http.RoundTripper].
func (t RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if len(r.Header.Values(Header)) > 0 {
		return base.RoundTrip(r)
	}
	var keys []string
	carries := len(innermost(r.Context())) > 0
	if t.Keys != nil {
		keys = t.Keys(r)
		carries = len(keys) > 0
	}
	if !carries {
		return base.RoundTrip(r)
	}
	signed := r.Clone(r.Context()) // a RoundTripper must not change the request
	if err := SetHeader(r.Context(), signed.Header, keys...); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must; the request was not sent
		}
		return nil, err
	}
	return base.RoundTrip(signed)
}
