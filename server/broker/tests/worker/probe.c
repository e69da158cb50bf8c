// A PAM module that does what its arguments say.
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *argument(int argc, const char **argv, const char *name) {
    size_t length = strlen(name);
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], name, length) && argv[i][length] == '=')
            return argv[i] + length + 1;
    return NULL;
}

static void note(int argc, const char **argv, const char *what) {
    const char *path = argument(argc, argv, "notes");
    FILE *notes = path ? fopen(path, "a") : NULL;
    if (notes) {
        fprintf(notes, "%s\n", what);
        fclose(notes);
    }
}

static int ask(pam_handle_t *pamh, int style, const char *text, const char *expected) {
    char *answer = NULL;
    int code = pam_prompt(pamh, style, &answer, "%s", text);
    if (code == PAM_SUCCESS && (!answer || strcmp(answer, expected)))
        code = PAM_AUTH_ERR;
    free(answer);
    return code;
}

// Four messages of all kinds at once.
static int ask_much(pam_handle_t *pamh) {
    const struct pam_conv *conv = NULL;
    if (pam_get_item(pamh, PAM_CONV, (const void **)&conv) != PAM_SUCCESS || !conv)
        return PAM_CONV_ERR;
    const struct pam_message messages[] = {{PAM_TEXT_INFO, "one"},
                                           {PAM_PROMPT_ECHO_ON, "two"},
                                           {PAM_ERROR_MSG, "three"},
                                           {PAM_PROMPT_ECHO_OFF, "four"}};
    const struct pam_message *all[] = {messages, messages + 1, messages + 2, messages + 3};
    struct pam_response *answers = NULL;
    int code = conv->conv(4, all, &answers, conv->appdata_ptr);
    if (code != PAM_SUCCESS)
        return code;
    int right = !answers[0].resp && answers[1].resp && !strcmp(answers[1].resp, "zwei") &&
                !answers[2].resp && answers[3].resp && !strcmp(answers[3].resp, "vier");
    for (int i = 0; i < 4; i++)
        free(answers[i].resp);
    free(answers);
    return right ? PAM_SUCCESS : PAM_AUTH_ERR;
}

int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    const char *value = argument(argc, argv, "does");
    const char *does = value ? value : "ask";
    if (!strcmp(does, "crash"))
        abort();
    if (!strcmp(does, "hang")) {
        if (fork() == 0)
            note(argc, argv, "a child hangs, too");
        for (;;)
            pause();
    }
    if (!strcmp(does, "much"))
        return ask_much(pamh);
    if (!strcmp(does, "where")) {
        const char *host = NULL, *tty = NULL;
        pam_get_item(pamh, PAM_RHOST, (const void **)&host);
        pam_get_item(pamh, PAM_TTY, (const void **)&tty);
        pam_info(pamh, "%s %s", host ? host : "-", tty ? tty : "-");
        value = argument(argc, argv, "map");
        return value ? pam_set_item(pamh, PAM_USER, value) : PAM_SUCCESS;
    }
    value = argument(argc, argv, "delay_us");
    if (value)
        pam_fail_delay(pamh, atoi(value));
    return ask(pamh, PAM_PROMPT_ECHO_OFF, "Password: ", "tree");
}

int pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    const char *value = argument(argc, argv, "account");
    if (!value)
        return PAM_SUCCESS;
    if (!strcmp(value, "expired")) {
        pam_error(pamh, "Your account ended with the term.");
        return PAM_ACCT_EXPIRED;
    }
    return !strcmp(value, "old") ? PAM_NEW_AUTHTOK_REQD : PAM_PERM_DENIED;
}

int pam_sm_chauthtok(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    if (flags & PAM_PRELIM_CHECK)
        return PAM_SUCCESS;
    if (!(flags & PAM_CHANGE_EXPIRED_AUTHTOK))
        return PAM_AUTHTOK_ERR;
    return ask(pamh, PAM_PROMPT_ECHO_OFF, "New password: ", "oak") ? PAM_AUTHTOK_ERR : PAM_SUCCESS;
}

int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    note(argc, argv, flags & PAM_DELETE_CRED ? "delete credentials" : "establish credentials");
    return PAM_SUCCESS;
}

int pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    note(argc, argv, "open session");
    const char *class = pam_getenv(pamh, "XDG_SESSION_CLASS");
    char variable[64];
    snprintf(variable, sizeof variable, "PROBE_CLASS=%s", class ? class : "-");
    return pam_putenv(pamh, variable);
}

int pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv) {
    note(argc, argv, "close session");
    return PAM_SUCCESS;
}
