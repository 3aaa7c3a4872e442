import { useQuery } from "@tanstack/react-query";
import { membersQuery, meQuery } from "./queries";

/** Whether who is signed in may do something; what they may not isn't offered. */
export function useMay(): (permission: string) => boolean {
  const { data } = useQuery(meQuery);
  return (permission) => data?.permissions.includes(permission) ?? false;
}

/** What to call a user, as far as who is signed in may know it: else by the id. */
export function useNameOf(): (userId: string) => string {
  const may = useMay();
  const { data: me } = useQuery(meQuery);
  const { data: members } = useQuery({ ...membersQuery, enabled: may("users.read") });
  return (userId) => {
    if (userId === me?.user.id) return me.user.email;
    return members?.find(({ id }) => id === userId)?.email ?? userId;
  };
}
