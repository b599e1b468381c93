//go:build unix

package chaos

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// AwaitAnswer waits until the server at addr answers.
func AwaitAnswer(addr string) error {
	soon := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(5*time.Millisecond), backoff.WithMultiplier(1), backoff.WithMaxElapsedTime(nodeTimeout))
	if err := backoff.Retry(func() error { _, err := ServerVersion(addr); return err }, soon); err != nil {
		return fmt.Errorf("no answer from %s within %v: %w: %w", addr, nodeTimeout, os.ErrDeadlineExceeded, err)
	}
	return nil
}

// ServerVersion asks the server at addr for its version.
func ServerVersion(addr string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, "INFO server\r\n"); err != nil {
		return "", err
	}
	in := bufio.NewScanner(conn)
	for in.Scan() {
		if strings.HasPrefix(in.Text(), "-") {
			return "", errors.New(in.Text()[1:])
		}
		if version, ok := strings.CutPrefix(in.Text(), "redis_version:"); ok {
			return version, nil
		}
	}
	return "", cmp.Or(in.Err(), io.ErrUnexpectedEOF)
}
