//go:build unix

package chaos

import "golang.org/x/sys/unix"

// now is the machine's monotonic clock in ns, the same for all processes on it.
func now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}
