package fence

import (
	"context"
	"net/http"
)

// Header is the name of the HTTP header that carries fencing tokens, in the
// format of [Token.String], separated by commas.
const Header = "Fencing-Token"

// SetHeader sets [Header] to the tokens of these keys, or of the innermost lock
// if there are no keys. The error matches [ErrNoToken] if ctx is under no lock on
// one of the keys.
func SetHeader(ctx context.Context, h http.Header, keys ...string) error {
	text := ""
	if len(keys) == 0 {
		t, ok := innermost(ctx)
		if !ok {
			return ErrNoToken
		}
		text = t.String()
	}
	for i, key := range keys {
		t, err := tokenOf(ctx, key)
		if err != nil {
			return err
		}
		if i > 0 {
			text += ", "
		}
		text += t.String()
	}
	h.Set(Header, text)
	return nil
}

// RoundTripper is an [http.RoundTripper] that adds [Header] to requests, with
// the tokens of the locks that their contexts are under. A request that already
// has the header is sent unchanged.
type RoundTripper struct {
	// Base sends the requests. Default http.DefaultTransport.
	Base http.RoundTripper

	// Keys returns the keys whose tokens a request carries. A request whose
	// context is under no lock on one of them is not sent, and its error
	// matches ErrNoToken. Default nil: the innermost lock; a request under no
	// lock is sent without the header. The server learns the keys, also after a
	// redirect to another host.
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
	_, carries := innermost(r.Context())
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
