package fronttest

import (
	"bufio"
	"encoding/base64"
	"io"
	"net"
	"strings"
)

// TakesToken plays a mailhost that takes OAUTHBEARER and XOAUTH2: bob's message with good-token is right. Any
// other one is refused by a challenge, whose answer it reads. It asks for the message unless it has come
// along with the command.
func TakesToken(conn *net.UnixConn, in *bufio.Reader, initial string) bool {
	if initial == "" {
		io.WriteString(conn, "+ \r\n")
		initial, _ = in.ReadString('\n')
	}
	message, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(initial, "\r\n"))
	switch string(message) {
	case "n,a=bob,\x01host=x\x01auth=Bearer good-token\x01\x01", "user=bob\x01auth=Bearer good-token\x01\x01":
		return err == nil
	}
	io.WriteString(conn, "+ "+
		base64.StdEncoding.EncodeToString([]byte(`{"status":"invalid_token","scope":"mail"}`))+"\r\n")
	_, _ = in.ReadString('\n')
	return false
}
