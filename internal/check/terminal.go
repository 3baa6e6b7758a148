package check

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"
)

// isTerminal says whether a file is a terminal.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// askPassword reads a password from the terminal without showing it. Without a terminal it reads nothing:
// a password must come from a person's hands, or from a pipe that was made for it.
func askPassword(in *os.File, prompt io.Writer) func() (string, error) {
	asked, password := false, ""
	var err error
	return func() (string, error) {
		if !asked {
			asked = true
			password, err = readPassword(in, prompt)
		}
		return password, err
	}
}

func readPassword(in *os.File, prompt io.Writer) (string, error) {
	fd := int(in.Fd())
	state, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		if st, err := in.Stat(); err != nil || st.Mode()&os.ModeNamedPipe == 0 {
			return "", nil
		}
		return readLine(in)
	}
	quiet := *state
	quiet.Lflag &^= unix.ECHO
	restore := func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, state) }
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, unix.SIGTERM)
	defer signal.Stop(interrupted)
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return "", err
	}
	defer restore()
	fmt.Fprint(prompt, "Password (empty = do not log in): ")
	type answer struct {
		line string
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		line, err := readLine(in)
		typed <- answer{line, err}
	}()
	select {
	case a := <-typed:
		fmt.Fprintln(prompt)
		return a.line, a.err
	case <-interrupted:
		fmt.Fprintln(prompt)
		return "", errors.New("interrupted")
	}
}

func readLine(in io.Reader) (string, error) {
	text, err := bufio.NewReader(in).ReadString('\n')
	if err == io.EOF && text != "" {
		err = nil
	}
	if err == io.EOF {
		return "", nil
	}
	return strings.TrimRight(text, "\r\n"), err
}
