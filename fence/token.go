package fence

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/venta-hq/redlock/internal/keepalive"
)

// ErrMalformed is matched by the errors of [ParseTokens].
var ErrMalformed = errors.New("redlock: malformed fencing token")

// maxTokens limits the tokens of one request: each costs a check in the store.
// One call can lock as many keys.
const maxTokens = keepalive.MaxKeys

// Token is the fencing token of a key, as it is sent to another process.
type Token struct {
	Key    string
	Number int64
	Shared bool // it is a reader's: of lock.Shared
}

// String formats t as "key;token", or "key;token;shared". Letters, digits and
// -._~:/@ of the key stand for themselves, every other byte is %XX with two
// hexadecimal digits. Keys may contain any bytes; the text is printable ASCII
// without spaces, commas and quotes.
func (t Token) String() string {
	text := escape(t.Key) + ";" + strconv.FormatInt(t.Number, 10)
	if t.Shared {
		text += sharedWord
	}
	return text
}

// sharedWord follows the number of a reader's token.
const sharedWord = ";shared"

// ParseTokens parses the format of [Token.String]. Each value may contain
// several tokens, separated by commas with optional spaces, as the lines of an
// HTTP header do. Without values it returns no tokens. A value without a token,
// a repeated key, and more than 64 tokens are errors. All errors match
// [ErrMalformed].
func ParseTokens(values ...string) ([]Token, error) {
	var all []Token
	seen := map[string]bool{}
	for _, value := range values {
		for text := range strings.SplitSeq(value, ",") {
			t, err := parseToken(strings.Trim(text, " \t"))
			switch {
			case err != nil:
				return nil, err
			case seen[t.Key]:
				return nil, fmt.Errorf("%w: the key %s comes twice", ErrMalformed, quoted(t.Key))
			case len(all) == maxTokens:
				return nil, fmt.Errorf("%w: there are more than %d", ErrMalformed, maxTokens)
			}
			seen[t.Key] = true
			all = append(all, t)
		}
	}
	return all, nil
}

func parseToken(text string) (Token, error) {
	name, number, ok := strings.Cut(text, ";")
	if !ok {
		return Token{}, fmt.Errorf("%w: %s; want KEY;TOKEN, or KEY;TOKEN;shared of a shared lock", ErrMalformed, quoted(text))
	}
	key, err := unescape(name)
	if err != nil {
		return Token{}, err
	}
	number, shared := strings.CutSuffix(number, sharedWord)
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != number || valid(key, n) != nil {
		return Token{}, fmt.Errorf("%w: %s; a token is a whole number above 0 and below 2^53, in decimal digits", ErrMalformed, quoted(text))
	}
	return Token{key, n, shared}, nil
}

// quoted quotes received text, cut off so that an error stays short.
func quoted(text string) string {
	if len(text) > 80 {
		return strconv.Quote(text[:80]) + "…"
	}
	return strconv.Quote(text)
}

func escape(key string) string {
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// unescape accepts only what escape writes, so that equal keys have equal texts.
func unescape(text string) (string, error) {
	key, err := url.PathUnescape(text)
	if err != nil || key == "" || escape(key) != text {
		return "", fmt.Errorf("%w: key %s; letters, digits and -._~:/@ stand for themselves, and every other byte as %%XX with digits 0-9 and A-F",
			ErrMalformed, quoted(text))
	}
	return key, nil
}

// plain reports whether a byte of a key stands for itself.
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~:/@", c) >= 0
}
